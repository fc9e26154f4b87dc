"""One self-contained HTML page: style, data and scripts inside, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from utils.report.table import Table

ASSETS = Path(__file__).parent / "assets"


def page(
    title: str,
    tables: Sequence[Table],
    *,
    lead: str = "",
    overview: Sequence[dict[str, Any]] = (),
    runs: Sequence[dict[str, Any]] = (),
    left_out: Sequence[str] = (),
) -> str:
    """The page: `overview` (charts), `tables`, `runs` (see run_data.py) one at a time, and what was left out."""
    scripts = _scripts() if runs else []
    return environment().get_template("page.html").render(
        title=title,
        tables=tables,
        lead=lead,
        overview=overview,
        runs=runs,
        left_out=left_out,
        style=style(),
        scripts=[Markup(script) for script in scripts],
        policy=policy(scripts),
    )  # fmt: skip


def environment() -> Environment:
    """Jinja's templates of the pages."""
    found = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    found.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    found.filters["column_groups"] = _column_groups
    return found


def style() -> Markup:
    """The style sheet of the pages."""
    return Markup((ASSETS / "report.css").read_text(encoding="utf-8"))


def _column_groups(columns: Sequence[tuple[str, str]]) -> list[tuple[str, int]]:
    """Title and width of each group of neighbouring columns."""
    return [(group, len(list(members))) for group, members in groupby(columns, key=lambda column: column[0])]


def _scripts() -> list[str]:
    from plotly.offline import get_plotlyjs

    return [get_plotlyjs(), (ASSETS / "report.js").read_text(encoding="utf-8")]


def policy(scripts: Sequence[str], *, images: str = "") -> str:
    """Only the page's own scripts run, and nothing is loaded: not even markup that got in could do either.

    Plotly sets styles from its script, so that inline styles have to be allowed. `images` is where images may be.
    """
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
    pictures = f"img-src {images}; " if images else ""
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; {pictures}script-src {allowed}; base-uri 'none'; "
        "form-action 'none'"
    )
