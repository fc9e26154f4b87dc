"""Run script files as a local queue or a Slurm array."""
