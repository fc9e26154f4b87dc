"""The page of a results folder: what it shows of each run and of all of them, drawn by plotly in one file."""
