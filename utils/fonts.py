"""Names in any script, drawn: with a font of the machine that has their letters, or else transliterated."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

from utils.terminal import printable

logger = logging.getLogger(__name__)
DEFAULT = "DejaVu Sans"
# Fonts with Chinese, Japanese and Korean letters, of Linux, Windows and Mac.
_WIDE = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "Droid Sans Fallback",
    "Microsoft YaHei", "SimHei", "MS Gothic", "Malgun Gothic", "PingFang SC", "Hiragino Sans GB",
    "Heiti SC", "Arial Unicode MS", "Noto Sans",
)  # fmt: skip


def drawable(text: str) -> tuple[str, dict[str, Any]]:
    """The text to draw and the options of its font; transliterated, with one warning, if no font has its letters.

    Control characters are escaped."""
    text = printable(text)
    missing = _missing(text)
    if not missing:
        return text, {}
    family = _family_with(missing)
    if family is not None:
        return text, {"fontfamily": [DEFAULT, family]}
    _warn_once()
    from anyascii import anyascii

    return "".join(anyascii(letter).strip() + " " if letter in missing else letter for letter in text).strip(), {}


def _missing(text: str) -> frozenset[str]:
    """The letters that the default font lacks."""
    known = _letters(DEFAULT)
    return frozenset(letter for letter in text if ord(letter) not in known and not letter.isspace())


@lru_cache(maxsize=32)
def _letters(family: str) -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=family))).get_charmap())


@lru_cache(maxsize=256)
def _family_with(letters: frozenset[str]) -> str | None:
    there = {font.name for font in fontManager.ttflist}
    for family in _WIDE:
        if family in there and all(ord(letter) in _letters(family) for letter in letters):
            return family
    return None


@lru_cache(maxsize=1)
def _warn_once() -> None:
    logger.warning("no font of this machine has the letters of some names: plots show them in Latin letters")
