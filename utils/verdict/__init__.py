"""The verdict on whether the language model helps (docs/verdict): collected runs, statistics and the page."""
