"""UniTime's parts: masking, the embedding of masked patches, and the language model with its instruction."""
