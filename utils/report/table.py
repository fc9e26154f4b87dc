"""A table of results as Markdown or HTML; what it holds is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape


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


def to_html(table: Table) -> str:
    """The table as a `<section>`; every text in it is escaped."""
    parts = [f"<section class='table{' not-results' if table.warning else ''}'><h3>{escape(table.title)}</h3>"]
    if table.warning:
        parts.append(f"<p class='warning'>{escape(table.warning)}</p>")
    # Wide tables scroll inside their frame; it is focusable so that they also scroll from the keyboard.
    parts.append(f"<div class='scroll' tabindex='0' role='region' aria-label='{escape(table.title)}'><table><thead>")
    parts.append(_html_head(table))
    parts.append("</thead><tbody>")
    previous = ""
    for heads, cells in table.rows:
        # A rule above each new data set; its name is written once.
        first = heads[0] != previous
        previous = heads[0]
        labels = "".join(
            f"<th scope='row'>{escape(head) if number or first else ''}</th>" for number, head in enumerate(heads)
        )
        parts.append(f"<tr class='{'first' if first else ''}'>{labels}{''.join(map(_html_cell, cells))}</tr>")
    parts.append("</tbody></table></div>")
    if table.notes:
        parts.append("<ul class='notes'>" + "".join(f"<li>{escape(note)}</li>" for note in table.notes) + "</ul>")
    return "".join(parts) + "</section>\n"


def _html_head(table: Table) -> str:
    groups: list[list] = []
    for group, _ in table.columns:
        if groups and groups[-1][0] == group:
            groups[-1][1] += 1
        else:
            groups.append([group, 1])
    corner = "".join(f"<th rowspan='2' scope='col'>{escape(head)}</th>" for head in table.heads)
    spans = "".join(
        f"<th class='group' colspan='{width}' scope='colgroup'>{escape(name)}</th>" for name, width in groups
    )
    measures = "".join(f"<th class='number' scope='col'>{escape(measure)}</th>" for _, measure in table.columns)
    return f"<tr>{corner}{spans}</tr><tr>{measures}</tr>"


def _html_cell(cell: Cell) -> str:
    text = escape(cell.text)
    text = {1: f"<strong>{text}</strong>", 2: f"<u>{text}</u>"}.get(cell.rank, text)
    return f"<td class='number{' missing' if cell.missing else ''}'>{text}</td>"


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
