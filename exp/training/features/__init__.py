"""Features that a frozen language model makes of rows: computed once, kept in memory and on disk."""
