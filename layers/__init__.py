"""The mathematics, one idea a file: nothing here knows of data, training or any model."""
