"""A fitted model, out of its checkpoint, on a table of the user's."""
