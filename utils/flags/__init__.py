"""Flags: parsing, help, and what is known of them without importing a model."""
