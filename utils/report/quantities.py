"""Numbers as people read them in a table."""

from __future__ import annotations

import math


def count_text(count: float) -> str:
    """A number of parameters: 970,081 is 0.97 M."""
    if math.isnan(count):
        return "-"
    return f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count:,.0f}"


def bytes_text(count: float) -> str:
    """A memory size in MiB; nothing for 0 (a CPU run has no device memory)."""
    return "-" if math.isnan(count) or not count else f"{count / 2**20:,.0f} MiB"


def figures_text(value: float) -> str:
    """Three significant figures."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
