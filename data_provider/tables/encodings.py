"""Recognise the encoding of a text file, or refuse to guess it."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

# Letters and signs of Latin-1 (degree, micro, superscripts, accents); a lone one beside ASCII is Western text.
_WESTERN = re.compile(rb"(?<![\x80-\xff])[\xa0-\xff](?![\x80-\xff])")
_HIGH = re.compile(rb"[\x80-\xff]")
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SAMPLE = 1 << 22
# A file is mapped into memory, the content of an archive is read.
Content = bytes | mmap.mmap


def encoding_of(content: Content, *, path: Path, asked: str | None) -> str:
    """The encoding: `asked`, or by the file's mark, or UTF-8, or Latin-1 for lone Western letters.

    Raises ValueError for anything else: the same bytes are text in GBK, Shift-JIS and CP1251.
    """
    start = content[:_SAMPLE]
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    if asked is not None:
        return asked
    if start.isascii():
        return "utf-8" if len(content) <= _SAMPLE or _is_utf8(content[_SAMPLE:]) else "latin-1"
    if _is_utf8(start):
        return "utf-8"
    if len(_WESTERN.findall(start)) == len(_HIGH.findall(start)):
        return "latin-1"
    raise ValueError(
        f"{path} is not in UTF-8, and its bytes can be text in several encodings: say which by --encoding, such as "
        "gbk, big5, shift_jis, cp1251 or latin-1"
    )


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        # A sample may end inside a letter.
        return error.start >= len(content) - 3 and error.reason == "unexpected end of data"
    return True
