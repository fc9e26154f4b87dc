"""Result pages: tables with the machine and the command that produced them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from utils.files import replace_file


def publish(title: str, machine: str, notes: Sequence[str], tables: Sequence[str], output: str) -> None:
    """Print a page of Markdown tables and write it to `output`, if given."""
    command = " ".join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *_portable(sys.argv[1:])])
    parts = [f"# {title}", f"Measured on {machine}.", f"Command: `{command}`", *notes, *tables]
    page = "\n\n".join(parts) + "\n"
    print(page)
    if output:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        replace_file(Path(output), page.encode())


def _portable(words: Sequence[str]) -> list[str]:
    """Command line without what is specific to one machine: folder names and --output."""
    kept: list[str] = []
    for flag, word in pairwise(["", *words]):
        if flag in ("--root_path", "--llm_tokenizer"):
            kept.append("FOLDER")
        elif "--output" not in (flag, word):
            kept.append(word)
    return kept
