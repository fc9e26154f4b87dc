"""From a table on disk to batches on the device."""
