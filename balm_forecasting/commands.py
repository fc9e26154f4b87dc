"""The installed commands; what they are in a checkout, they say."""

from __future__ import annotations

import importlib
import sys


def check() -> int:
    """`balm-check`: `python -m data_provider.check`."""
    return _tool("data_provider.check")


def download() -> int:
    """`balm-download`: `python -m data_provider.download`."""
    return _tool("data_provider.download")


def results() -> int:
    """`balm-results`: `python -m utils.results`."""
    return _tool("utils.results")


def report() -> int:
    """`balm-report`: `python -m utils.report`."""
    return _tool("utils.report.__main__")


def run() -> int:
    """`balm-run`: what `python run.py` is in a checkout."""
    return _main(sys.argv[1:])


def predict() -> int:
    """`balm-predict`: `balm-run --task_name predict`."""
    return _main(["--task_name", "predict", *sys.argv[1:]])


def _main(arguments: list[str]) -> int:
    code = importlib.import_module("balm_forecasting.run").command(arguments)
    return importlib.import_module("balm_forecasting.utils.signals").exit_with(code)


def _tool(module: str) -> int:
    """The `main` of a module, which a signal ends with one line, also while it is imported."""
    signals = importlib.import_module("balm_forecasting.utils.signals")
    signals.end_at_once_on_signals()
    return signals.exit_with(signals.run_tool(importlib.import_module(f"balm_forecasting.{module}").main))
