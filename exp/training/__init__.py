"""The training loop and what it stands on: state, data, evaluation, runtime, run record."""
