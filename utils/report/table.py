"""Tables of results, their Markdown (their HTML is in pages/assets/page.html), and the texts of numbers in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from utils.terminal import aligned


@dataclass(frozen=True)
class Cell:
    """One entry: its text, its rank in the row (1 best, 2 second, 0 neither), and whether there is no result."""

    text: str
    rank: int = 0
    missing: bool = False


MISSING = Cell("-", missing=True)
# A cell of a model that no seed was run in.
NO_SEEDS = "- (0/"
IN_PRINT, ON_TERMINAL = "best bold, second underlined", "* best, + second"


@dataclass(frozen=True)
class Table:
    """Rows of `heads` (row labels) and cells under two-line column titles (group, measure), with notes below.

    A table with a `warning` holds no paper results; the warning says why.
    """

    title: str
    heads: list[str]
    columns: list[tuple[str, str]]
    rows: list[tuple[list[str], list[Cell]]]
    notes: list[str] = field(default_factory=list)
    warning: str = ""


def to_text(table: Table, *, width: int) -> str:
    """The table for a terminal: best with a star, second with a plus.

    One that is wider than `width` characters stands upright: a line per group of columns, such as a model.
    """
    titles = [f"{group} {measure}".strip() for group, measure in table.columns]
    rows = [[*heads, *map(_text_cell, cells)] for heads, cells in table.rows]
    lines = aligned([*table.heads, *titles], rows, num_heads=len(table.heads))
    if max(map(len, lines.splitlines())) > width and _groups_are_alike(table):
        lines = _upright(table)
    head = [table.title, *([f"! {table.warning}"] if table.warning else [])]
    return "\n".join([*head, lines, *(f"  {note.replace(IN_PRINT, ON_TERMINAL)}" for note in table.notes)])


def _groups_are_alike(table: Table) -> bool:
    """Whether every group of columns has the same measures, as models have, so that groups can stand below another."""
    groups = {group: [m for name, m in table.columns if name == group] for group, _ in table.columns}
    return len({tuple(measures) for measures in groups.values()}) == 1 < len(groups)


def _upright(table: Table) -> str:
    """A line per row and group of columns; a group whose cells are all missing has none."""
    measures = list(dict.fromkeys(measure for _, measure in table.columns))
    groups = list(dict.fromkeys(group for group, _ in table.columns))
    rows = []
    for heads, cells in table.rows:
        by_column = dict(zip(table.columns, cells, strict=True))
        for group in groups:
            found = [by_column.get((group, measure), MISSING) for measure in measures]
            if not all(cell == MISSING or cell.text.startswith(NO_SEEDS) for cell in found):
                rows.append([*heads, group, *map(_text_cell, found)])
    return aligned([*table.heads, "", *measures], rows, num_heads=len(table.heads) + 1)


def _text_cell(cell: Cell) -> str:
    return {1: "* ", 2: "+ "}.get(cell.rank, "") + cell.text


def to_markdown(table: Table) -> str:
    """The table in GitHub's Markdown: best bold, second underlined."""
    titles = [*table.heads, *(f"{group} {measure}".strip() for group, measure in table.columns)]
    lines = [f"## {_plain(table.title)}", ""]
    if table.warning:
        lines += [f"> **{_plain(table.warning)}**", ""]
    rows = [[*map(_plain, heads), *map(_markdown_cell, cells)] for heads, cells in table.rows]
    lines += [markdown([_plain(title) for title in titles], rows, num_heads=len(table.heads))]
    lines += ["", *(f"- {_plain(note)}" for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], *, num_heads: int = 1) -> str:
    """A Markdown table of texts, which are not escaped; columns after the first `num_heads` are right-aligned."""
    rule = ["---"] * num_heads + ["---:"] * (len(header) - num_heads)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _markdown_cell(cell: Cell) -> str:
    text = _plain(cell.text)
    return {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(cell.rank, text)


def _plain(text: str) -> str:
    """Text escaped for Markdown, so that a name from a file cannot become a column, a tag or a style."""
    text = " ".join(text.split()).replace("\\", "\\\\")
    for mark in "|*_`<>[]":
        text = text.replace(mark, "\\" + mark if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark])
    return text


def count_text(count: float) -> str:
    """A number of parameters in millions (0.97 M), or in full if below 0.1 M."""
    if math.isnan(count):
        return "-"
    return f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count:,.0f}"


def bytes_text(count: float) -> str:
    """A memory size in MiB; `-` for 0 (a CPU run has no device memory)."""
    return "-" if math.isnan(count) or not count else f"{count / 2**20:,.0f} MiB"


def figures_text(value: float) -> str:
    """Three significant digits."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
