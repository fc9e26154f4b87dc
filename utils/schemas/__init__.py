"""What the files of a run hold: a schema for each, checked where the file is read.

Entries that a schema does not name are kept, so that a newer version can add some.
"""
