"""Reads back what an offline wandb run recorded: records in LevelDB's log format, each a protocol buffer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK, FILE_HEADER, RECORD_HEADER = 32768, 7, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records_of(path: Path) -> list[Any]:
    """Every record of a `.wandb` file, in order."""
    content, position, pending, records = path.read_bytes(), FILE_HEADER, b"", []
    while position + RECORD_HEADER <= len(content):
        if BLOCK - position % BLOCK < RECORD_HEADER:
            position += BLOCK - position % BLOCK
            continue
        length = int.from_bytes(content[position + 4 : position + 6], "little")
        kind = content[position + 6]
        pending += content[position + RECORD_HEADER : position + RECORD_HEADER + length]
        position += RECORD_HEADER + length
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue]
            record.ParseFromString(pending)
            records.append(record)
            pending = b""
    return records


def history_of(records: list[Any]) -> list[dict[str, Any]]:
    """What was logged, a dictionary a step."""
    rows = [record.history for record in records if record.WhichOneof("record_type") == "history"]
    return [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row.item} for row in rows]


def summary_of(records: list[Any]) -> dict[str, Any]:
    """The summary at the end of the run, nested names joined by slashes."""
    summary: dict[str, Any] = {}
    for record in records:
        if record.WhichOneof("record_type") == "summary":
            for item in record.summary.update:
                summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return summary
