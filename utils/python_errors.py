"""Errors for callers from Python: the same messages, without the flags and commands of a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_FLAG = re.compile(r"--(?:no_)?([a-z]\w*)")
# What argparse says around its own reasons: `argument --batch_size/--batch-size: ... (see --help)`.
_SEE_HELP = re.compile(r" \((?:delete them, or )?see --help\)|argument (?=--)|/--[\w-]+(?=:)")
# The commands that write a repaired copy of a file mean nothing to a data frame.
_REPAIR = re.compile(r"(?:fill it, for example by )?`[^`]*check [^`]* --fix [^`]*`(?: writes a[\w ]*copy(?: in UTC)?)?")
_IN_A_FRAME = "mend it in the data frame, for example with dropna(), interpolate() or sort_index()"
DATA_FRAME = "the data frame"


@contextmanager
def python_errors(instead: Mapping[str, str] | None = None, *, frame: str = "") -> Iterator[None]:
    """Errors of the `with` block name arguments (`seq_len`) where a command names flags (`--seq_len`).

    `instead` maps flags, without dashes, to the arguments that stand for them; `frame` is what messages call the data
    frame of the call, such as the path of a temporary file.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (_in_python(error.args[0], instead or {}, frame),)
        raise


def _in_python(message: str, instead: Mapping[str, str], frame: str) -> str:
    if frame and frame in message:
        message = _REPAIR.sub(_IN_A_FRAME, message).replace(frame, DATA_FRAME)
    message = _SEE_HELP.sub("", message).replace("is not a flag", "is not an argument")
    return _FLAG.sub(lambda flag: instead.get(flag[1], flag[1]), message)
