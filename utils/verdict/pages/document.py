"""A page as sections of paragraphs, tables and pictures, written as Markdown and as one self-contained HTML file."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from utils.report.pages.page import environment, policy, style
from utils.report.table import markdown

CODE, LINK = re.compile(r"`([^`]+)`"), re.compile(r"\[([^]]+)\]\(([^)]+)\)")


@dataclass(frozen=True)
class Grid:
    """A table of texts; the first `num_heads` columns are row labels, the others are right-aligned."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_heads: int = 1


@dataclass(frozen=True)
class Picture:
    """An SVG file beside the page, and what it shows in words."""

    file: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page under a title; texts may hold `code` and [links](target)."""

    title: str
    blocks: Sequence[str | Grid | Picture]


@dataclass(frozen=True)
class Document:
    """The page: a lead, numbered sentences of answer, remarks on them, and sections."""

    title: str
    lead: str
    answer: Sequence[str]
    remarks: Sequence[str]
    sections: Sequence[Section]

    @property
    def pictures(self) -> list[Picture]:
        """All pictures of the page."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Picture)]


def to_markdown(document: Document) -> str:
    """The page in GitHub's Markdown."""
    parts = [f"# {document.title}", f"*{document.lead}*"]
    parts.append("\n".join(f"{number}. {sentence}" for number, sentence in enumerate(document.answer, 1)))
    parts += document.remarks
    for section in document.sections:
        parts += [f"## {section.title}", *map(_markdown_block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def to_html(document: Document, pictures: Mapping[str, bytes]) -> str:
    """The page as one HTML file; `pictures` are the SVG files by name, which it holds as they are.

    There is no script in it: plotly's alone is 4.5 MB, and the pictures are to be the same bytes everywhere.
    """
    sources = {
        name: f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}" for name, content in pictures.items()
    }
    return (
        environment()
        .get_template("verdict.html")
        .render(
            document=document,
            kind=lambda block: type(block).__name__,
            sources=sources,
            text=_html_text,
            style=style(),
            policy=policy([], images="data:"),
        )
    )


def _markdown_block(block: str | Grid | Picture) -> str:
    if isinstance(block, Grid):
        return markdown(block.header, block.rows, num_heads=block.num_heads)
    if isinstance(block, Picture):
        return f"![{block.caption}]({block.file})\n\n*{block.caption}*"
    return block


def _html_text(text: str) -> Markup:
    """The text with its code and links as HTML."""
    return Markup(LINK.sub(r'<a href="\2">\1</a>', CODE.sub(r"<code>\1</code>", escape(text, quote=False))))
