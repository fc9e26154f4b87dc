"""Kills, damage and hostile input in great numbers: `python -m tests.endurance` runs all of it and prints counts."""
