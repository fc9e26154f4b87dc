"""From windows to batches: order of the rows, their prompts, and the memory that keeps them."""
