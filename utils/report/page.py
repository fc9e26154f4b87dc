"""One self-contained HTML page: style and scripts inside, nothing loaded from anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent / "assets"
# Belt and braces: even if a name from a file got into the markup, no browser would run it or load anything for it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page(title: str, body: str, *, left_out: Sequence[str] = (), data: Any = None, scripts: Sequence[str] = ()) -> str:
    """The page's text. `body` is HTML; `title` and `left_out` are escaped; `data` is what the scripts read."""
    style = (ASSETS / "report.css").read_text(encoding="utf-8")
    parts = [
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>",
        f"<meta http-equiv='Content-Security-Policy' content=\"{_POLICY}\">",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<meta name='color-scheme' content='light dark'><title>{escape(title)}</title>",
        f"<style>\n{style}</style></head><body><main><h1>{escape(title)}</h1>",
        body,
    ]
    if left_out:
        lines = "".join(f"<li>{escape(line)}</li>" for line in left_out)
        parts.append(f"<section><h2>Left out</h2><ul class='notes'>{lines}</ul></section>")
    parts.append("</main>")
    if data is not None:
        parts.append(f"<script type='application/json' id='data'>{script_safe_json(data)}</script>")
    parts += [f"<script>\n{(ASSETS / name).read_text(encoding='utf-8')}</script>" for name in scripts]
    return "".join(parts) + "</body></html>\n"


def script_safe_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever the names in it are."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
