"""Published claims beside our numbers: claims.csv holds source, claim and number, the rest is computed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from utils.verdict.collection import Collected
from utils.verdict.comparisons import Comparison, compare, num_seeds
from utils.verdict.pages.document import Grid
from utils.verdict.plan import CELLS, NONE, PRETRAINED, RANDOM, SEEDS, SIMPLE, core, other_model, setting_of

FILE = "claims.csv"
HEADER = ["source", "claim", "published", "note", "ours", "verdict"]
NOT_RUN = ("not run", "open")
# What ours and verdict of a claim are.
Judged = tuple[str, str]


def claims_table(collected: Collected, place: Path) -> Grid | None:
    """The claims with our numbers and what these say of them; None without a file."""
    if not (place / FILE).is_file():
        return None
    rows = []
    for claim in pd.read_csv(place / FILE, keep_default_na=False).astype(str).to_dict("records"):
        judge = JUDGES.get(claim["id"])
        ours, verdict = judge(collected) if judge else NOT_RUN
        rows.append([claim["source"], claim["claim"], claim["published"], claim["note"], ours, verdict])
    return Grid(HEADER, rows, num_heads=len(HEADER))


def _random_worse_than_none(collected: Collected) -> Judged:
    found = [
        each
        for arm in RANDOM
        for each in compare(collected, core(), next(p for p in core().pairs if (p.arm, p.reference) == (arm, NONE)))
    ]
    return _counted(found, "worse", "higher", "cells and draws")


def _none_beats(model: str) -> Callable[[Collected], Judged]:
    """`none` of another model against its pretrained language model, which it should beat."""
    part = other_model(model)
    pair = next(pair for pair in part.pairs if pair.reference.endswith(NONE) and PRETRAINED in pair.arm)

    def judge(collected: Collected) -> Judged:
        # With a pretrained model worse than without one.
        return _counted(compare(collected, part, pair), "worse", "higher with the LLM", "cells")

    return judge


def _counted(found: Sequence[Comparison], claimed: str, direction: str, unit: str) -> Judged:
    """In how many comparisons that can be tested the means agree with the claim, and in how many a test says so."""
    complete = [each.found for each in found if each.found is not None]
    tested = [each for each in found if each.found is not None and each.found.is_tested]
    if not complete:
        return NOT_RUN
    if not tested:
        where = f"all {len(complete)} {unit}" if len(complete) > 1 else f"the one {unit.removesuffix('s')} that is run"
        return f"too few test windows in {where}", "open"
    agreeing = sum(each.found.mean > 0 for each in tested if each.found is not None)
    shown = sum(each.verdict == claimed for each in tested)
    against = sum(each.verdict == "better" for each in tested)
    equal = sum(each.verdict == "equivalent" for each in tested)
    ours = f"{direction} in {agreeing} of {len(tested)} {unit}, {shown} by test"
    if len(tested) < len(complete):
        ours += f"; {len(complete) - len(tested)} more with too few test windows"
    parts = [f"shown in {shown}"] if shown else []
    parts += [f"the opposite in {against}"] if against else []
    parts += [f"equivalent in {equal}"] if equal else []
    return ours, f"{', '.join(parts)} of {len(tested)}" if parts else "open"


def _gain_over_the_second_best(collected: Collected) -> Judged:
    """Mean gain of pretrained BALM over the best simple model on the same rows, in the cells that have them all."""
    part, gains = core(), []
    for cell in CELLS:
        others = _other_models(collected, cell)
        if len(others) == len(SIMPLE) and num_seeds(collected, cell, PRETRAINED, part.seeds) == len(SEEDS):
            gains.append(100 * (1 - float(collected.of(cell, [PRETRAINED])["mse"].mean()) / min(others)))
    if not gains:
        return NOT_RUN
    gain = sum(gains) / len(gains)
    ours = (
        f"MSE {abs(gain):.1f} % {'below' if gain > 0 else 'above'} the best simple model, mean of {len(gains)} of "
        f"{len(CELLS)} cells, not tested"
    )
    return ours, "open (other LLM and rows)" if gain > 0 else "not so here (other LLM and rows)"


def _other_models(collected: Collected, cell: str) -> list[float]:
    """Mean MSE of each simple model with all its seeds on the rows of this cell."""
    rows = collected.rows[collected.rows["cell"].map(setting_of) == setting_of(cell)]
    means = []
    for model in SIMPLE:
        runs = rows[rows["arm"] == model]
        if len(runs) >= (1 if model in SIMPLE[:2] else len(SEEDS)):
            means.append(float(runs["mse"].mean()))
    return means


JUDGES: dict[str, Callable[[Collected], Judged]] = {
    "balm_gain": _gain_over_the_second_best,
    "gpt4ts_ablations": _none_beats("GPT4TS"),
    "random_worse": _random_worse_than_none,
}
