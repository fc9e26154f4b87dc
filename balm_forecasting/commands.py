"""The installed commands that are more than the `main` of a module."""

from __future__ import annotations

import importlib
import sys


def run() -> int:
    """`balm-run`: what `python run.py` is in a checkout."""
    return _main(sys.argv[1:])


def predict() -> int:
    """`balm-predict`: `balm-run --task_name predict`."""
    return _main(["--task_name", "predict", *sys.argv[1:]])


def _main(arguments: list[str]) -> int:
    return importlib.import_module("balm_forecasting.run").main(arguments)
