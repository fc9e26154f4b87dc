"""Building blocks of the models, one idea per file; independent of data, training and models."""
