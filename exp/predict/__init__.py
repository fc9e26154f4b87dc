"""Forecast a user's table with the checkpoint of a finished run."""
