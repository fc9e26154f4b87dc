"""Many runs: from script files to a local queue or a Slurm array."""
