"""Training: loop, state, data, evaluation, runtime and records of a run."""
