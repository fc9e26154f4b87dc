"""The library as one package: `from balm_forecasting import load_forecaster, train` works in any folder.

A wheel holds the folders of the checkout as subpackages. In a checkout (also `pip install -e .`) they lie beside this
file, and importing this package makes them importable under its name and no other.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exp.predict.forecaster import load_forecaster
    from exp.python_call import train

__all__ = ["load_forecaster", "train"]

if not (Path(__file__).parent / "exp").is_dir():
    from balm_forecasting.checkout import make_importable

    make_importable()


def __getattr__(name: str) -> Any:
    # torch and transformers are imported only when something is asked for.
    modules = {"load_forecaster": ".exp.predict.forecaster", "train": ".exp.python_call"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(modules[name], __name__), name)
