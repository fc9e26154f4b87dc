"""Published claims beside our numbers: claims.csv holds source, claim and number, the rest is computed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from utils.verdict.collection import Collected
from utils.verdict.comparisons import Comparison, compare, num_seeds
from utils.verdict.pages.document import Grid
from utils.verdict.plan import CELLS, NONE, PRETRAINED, RANDOM, SEEDS, SIMPLE, core, later_parts, setting_of

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
    (part,) = [part for part in later_parts() if part.title.endswith(model)]
    pair = next(pair for pair in part.pairs if pair.reference.endswith(NONE) and PRETRAINED in pair.arm)

    def judge(collected: Collected) -> Judged:
        # With a pretrained model worse than without one.
        return _counted(compare(collected, part, pair), "worse", "higher with the LLM", "cells")

    return judge


def _counted(found: Sequence[Comparison], claimed: str, direction: str, unit: str) -> Judged:
    """In how many complete comparisons the means agree with the claim, and in how many a test says so."""
    complete = [each for each in found if each.found is not None]
    if not complete:
        return NOT_RUN
    agreeing = sum(each.found.mean > 0 for each in complete if each.found is not None)
    tested = sum(each.verdict == claimed for each in complete)
    against = sum(each.verdict == "better" for each in complete)
    ours = f"{direction} in {agreeing} of {len(complete)} {unit}, {tested} by test"
    if tested == len(complete):
        return ours, f"holds in our {len(complete)}"
    if against:
        return ours, f"does not hold in {against} of {len(complete)}"
    if tested:
        return ours, f"shown in {tested} of {len(complete)}, not in the others"
    equal = sum(each.verdict == "equivalent" for each in complete)
    return ours, f"not shown; equivalent in {equal} of {len(complete)}" if equal else "open"


def _gain_over_the_second_best(collected: Collected) -> Judged:
    """Mean gain of pretrained BALM over the best other model on the same rows, in the cells that have both."""
    part, gains = core(), []
    for cell in CELLS:
        others = _other_models(collected, cell)
        if others and num_seeds(collected, cell, PRETRAINED, part.seeds) == len(SEEDS):
            gains.append(100 * (1 - float(collected.of(cell, [PRETRAINED])["mse"].mean()) / min(others)))
    if not gains:
        return NOT_RUN
    gain = sum(gains) / len(gains)
    ours = f"{gain:+.1f} % MSE over the best other model, mean of {len(gains)} cells, SmolLM2, few-shot"
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
    "calf_ablations": _none_beats("CALF"),
    "gpt4ts_ablations": _none_beats("GPT4TS"),
    "random_worse": _random_worse_than_none,
}
