"""Forecast a table of the user with the checkpoint of a finished run."""
