"""Data sets: read a table, split and scale it, cut windows and load batches."""
