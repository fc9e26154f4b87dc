"""A table of results, and its Markdown (its HTML is in assets/page.html)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """One entry: its text, its rank in the row (1 best, 2 second, 0 neither), and whether it is a plain number."""

    text: str
    rank: int = 0
    missing: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of `heads` (row labels) and cells under two-line column titles (group, measure), with notes below.

    `warning` is not empty where the table must not be taken for results.
    """

    title: str
    heads: list[str]
    columns: list[tuple[str, str]]
    rows: list[tuple[list[str], list[Cell]]]
    notes: list[str] = field(default_factory=list)
    warning: str = ""


def to_markdown(table: Table) -> str:
    """The table in GitHub's Markdown: best bold, second underlined."""
    titles = [*table.heads, *(f"{group} {measure}".strip() for group, measure in table.columns)]
    lines = [f"## {_plain(table.title)}", ""]
    if table.warning:
        lines += [f"> **{_plain(table.warning)}**", ""]
    lines += [_markdown_row([_plain(title) for title in titles])]
    lines += [_markdown_row(["---"] * len(table.heads) + ["---:"] * len(table.columns))]
    for heads, cells in table.rows:
        lines.append(_markdown_row([_plain(head) for head in heads] + [_markdown_cell(cell) for cell in cells]))
    lines += ["", *(f"- {_plain(note)}" for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_cell(cell: Cell) -> str:
    text = _plain(cell.text)
    return {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(cell.rank, text)


def _markdown_row(texts: list[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: a name from a file must not become a column, a tag or a style."""
    text = " ".join(text.split()).replace("\\", "\\\\")
    for mark in "|*_`<>[]":
        text = text.replace(mark, "\\" + mark if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark])
    return text
