"""A panel from a table in long format whose series have dates of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_provider.config import DataConfig
from data_provider.panel import Panel, PanelSeries
from data_provider.scaling import Standardizer
from data_provider.series import constant_notes
from data_provider.splits import Borders, Split, parse_split, rows_of_split
from data_provider.tables.calendars import infer_time_step, irregularity
from data_provider.tables.table import Table
from utils.time_steps import gaps, in_words, season_of_step

FEW = 8
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def series_of(table: Table, channel: int) -> Table:
    """The table of one series of a panel: the rows it has."""
    rows = ~table.absent[:, channel]
    return replace(
        table,
        columns=[table.columns[channel]],
        dates=table.dates[rows],
        values=table.values[rows][:, [channel]],
        unread=table.unread[rows][:, [channel]],
        absent=np.zeros((0, 0), bool),
        notes=[],
        complaints=[],
    )


def each_series(table: Table) -> Iterator[Table]:
    """The tables of all series of a panel."""
    return (series_of(table, channel) for channel in range(len(table.columns)))


def lines_of_each(table: Table, lines_of: Callable[[Table], list[str]]) -> list[str]:
    """What `lines_of` says of each series, with its name; of many lines the first few and a count."""
    found = [
        f"series {part.columns[0]}: {line.removeprefix(f'column {part.columns[0]}: ')}"
        for part in each_series(table)
        for line in lines_of(part)
    ]
    return found if len(found) <= FEW else [*found[:FEW], f"and {len(found) - FEW} more remarks of this kind"]


def panel_of(config: DataConfig, path: Path, table: Table, *, check: Callable[[Table, int], None]) -> Panel:
    """The panel of a table with `absent` rows; series too short for a window in every split are left out, and named.

    `check`, called with a series and its number of training rows, raises ValueError for one that cannot be used. Raises
    ValueError if no series is long enough.
    """
    if config.features == "MS":
        raise ValueError(
            f"--features MS reads other series at the dates of --target, but those of {path} have dates of their own: "
            "use --features M (all series) or S (--target alone)"
        )
    parts = list(each_series(table))
    borders = [_borders_or_reason(config, table, part) for part in parts]
    kept = [(part, found) for part, found in zip(parts, borders, strict=True) if isinstance(found, Borders)]
    if not kept:
        longest = max(range(len(parts)), key=lambda number: len(parts[number].dates))
        raise ValueError(
            f"{path}: every series is too short; of the longest, {parts[longest].columns[0]} "
            f"({len(parts[longest].dates)} rows), {borders[longest]}"
        )
    time_step = infer_time_step(max((part.dates for part, _ in kept), key=len))
    for part, found in kept:
        check(part, found.train)
        reason = irregularity(part.dates, time_step)
        if reason is not None:
            raise ValueError(
                f"{path}: series {part.columns[0]} does not follow the step of the longest, {time_step}: {reason}: "
                "bring all to one step, or choose series with --columns"
            )
    left_out = [
        f"{part.columns[0]} ({len(part.dates)})" for part, b in zip(parts, borders, strict=True) if isinstance(b, str)
    ]
    scalers = [Standardizer.fit(part.values[: found.train]) for part, found in kept]
    mean, scale = (np.concatenate([getattr(one, name) for one in scalers]) for name in ("mean", "scale"))
    return Panel(
        name=path.stem,
        columns=[part.columns[0] for part, _ in kept],
        target_channels=list(range(len(kept))),
        time_step=time_step,
        season_length=season_of_step(time_step),
        scaler=Standardizer(mean, scale),
        fingerprint="",
        description=f"Time series of {path.stem}, one value every {time_step}.",
        parts=[PanelSeries(part.dates, part.values[:, 0], found) for part, found in kept],
        notes=[*_notes(config, kept, left_out, time_step), *table.notes],
    )


def _borders_or_reason(config: DataConfig, table: Table, part: Table) -> Borders | str:
    """The borders of a series, or why it is too short for a window in every split."""
    flags = {"zone": table.zone, "date_format": config.date_format}
    borders = parse_split(config.split, table.dates, **flags)
    if config.split is not None and len(config.split.split(",")) == 2:
        # The first dates of the whole table from those of the flag on.
        cuts = table.dates[[borders.train, borders.validation]]
        train, validation = (int(place) for place in np.searchsorted(part.dates, cuts))
        borders = Borders(train, validation, len(part.dates))
    else:
        borders = parse_split(config.split, part.dates, **flags)
    sizes = {"seq_len": config.seq_len, "pred_len": config.pred_len, "percent": config.percent}
    try:
        for split in SPLITS:
            rows_of_split(borders, split, **sizes)
    except ValueError as error:
        return str(error)
    return borders if borders.train >= 2 else "fewer than 2 rows are left for training"


def _notes(
    config: DataConfig, kept: Sequence[tuple[Table, Borders]], left_out: Sequence[str], time_step: str
) -> list[str]:
    lengths = [len(part.dates) for part, _ in kept]
    first = min(part.dates[0] for part, _ in kept)
    last = max(part.dates[-1] for part, _ in kept)
    notes = [
        f"{len(kept)} series of {min(lengths)} to {max(lengths)} rows, step {in_words(time_step)}, {first} .. {last}; "
        "their dates differ, so a window lies within one series, and each has splits and a scaler of its own"
    ]
    if left_out:
        more = f" and {len(left_out) - FEW} more" if len(left_out) > FEW else ""
        notes.append(
            f"{len(left_out)} series are too short for --seq_len {config.seq_len} and --pred_len {config.pred_len} in "
            f"every split and left out (rows): {', '.join(left_out[:FEW])}{more}"
        )
    with_gaps = [part.columns[0] for part, _ in kept if gaps(part.dates, time_step)]
    if with_gaps:
        notes.append(
            f"{len(with_gaps)} series have gaps in their dates, the first {with_gaps[0]}: windows run across them as "
            "if there were none"
        )
    constant = [note for part, found in kept for note in constant_notes(part.values, part.columns, found)]
    return [*notes, *constant[:FEW]]


def allowed_horizons(parts: Sequence[Table], split: str | None, look_backs: Sequence[int]) -> list[str]:
    """For each look-back the longest horizon that all series have windows for, or how many have any; by fractions."""
    sizes = []
    for part in parts:
        borders = parse_split(split, part.dates)
        sizes.append((borders.train, borders.validation - borders.train, borders.test - borders.validation))
    lines = []
    for look_back in look_backs:
        longest = sorted(min(train - look_back, *rest) if train > look_back else 0 for train, *rest in sizes)
        fits = sum(1 for horizon in longest if horizon > 0)
        allowed = (
            f"--pred_len up to {longest[0]} for all series"
            if longest[0] > 0
            else (f"--pred_len up to {longest[-1]}, but {len(longest) - fits} of {len(longest)} series are too short")
        )
        lines.append(f"--seq_len {look_back}: {allowed if fits else 'every series is too short'}")
    return lines
