"""Trackers: wandb and others through accelerate."""
