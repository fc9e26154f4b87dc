"""The published algorithms in plain torch, which the others are compared with."""
