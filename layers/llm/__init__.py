"""Language models: which families can be used, and where their files come from."""
