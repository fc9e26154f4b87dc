"""The tables of the page: arms and comparisons of each part of the plan, the simple models, what has been run."""

from __future__ import annotations

from collections.abc import Sequence

from utils.verdict.collection import Collected, Frame
from utils.verdict.comparisons import Comparison, SecondRate, chosen, num_seeds
from utils.verdict.pages.answer import seeds_text
from utils.verdict.pages.document import Grid
from utils.verdict.pages.seconds import seconds_of
from utils.verdict.plan import (
    CELLS,
    NAIVE,
    NONE,
    PRETRAINED,
    REFERENCES,
    SIMPLE,
    Part,
    cell_text,
    core,
    later_parts,
    num_simple_runs,
    second_rate,
    setting_of,
)
from utils.verdict.statistics import across_cells

COMPARED = ["difference", "95 % interval", "verdict"]
NOTHING = ("", "", "")


def cell_table(collected: Collected, found: Sequence[Comparison], part: Part, cell: str) -> Grid:
    """A line for each arm of the core: its errors, and against `none` and `random`."""
    rows = []
    for arm in part.arms:
        against_random = chosen(found, arm=arm, reference="random", cell=cell)
        rows.append(
            [
                arm,
                *_errors(collected, part, cell, arm),
                *(_texts(chosen(found, arm=arm, reference=NONE, cell=cell)) if arm != NONE else NOTHING),
                *(_texts(against_random)[::2] if against_random else NOTHING[:2]),
                *_facts(collected, cell, arm),
            ]
        )
    header = ["arm", "seeds", "test MSE", "test MAE", "against none", *COMPARED[1:], "against random", "verdict"]
    return Grid([*header, "best epoch", "seconds a run"], rows)


def reference_table(found: Sequence[Comparison], cells: Sequence[str]) -> Grid:
    """`pretrained` against each reference in each cell, with what a better one would say."""
    rows = []
    for reference, (_, meaning) in REFERENCES.items():
        of_reference = [each for each in chosen(found, arm=PRETRAINED, reference=reference) if each.cell in cells]
        rows += [[reference, meaning, cell_text(each.cell), *_compared(each)] for each in of_reference]
        p = across_cells([each.found for each in of_reference if each.found is not None])
        if p is not None:
            num_complete = sum(each.found is not None for each in of_reference)
            least = f"at least {2 * 0.5**num_complete:.3f}"
            label = "all cells (Wilcoxon, not corrected)"
            rows.append([reference, label, f"{num_complete} cells", *NOTHING, f"{p:.3f} ({least})", ""])
    header = ["reference", "if better, then", "cell", *COMPARED, "p (Holm)", "seeds needed"]
    return Grid(header, rows, num_heads=3)


def part_tables(collected: Collected, found: Sequence[Comparison], part: Part) -> list[Grid]:
    """The arms' errors and the comparisons of a later part."""
    arms = [
        [cell_text(cell), arm, *_errors(collected, part, cell, arm), *_facts(collected, cell, arm)]
        for cell in part.cells
        for arm in part.arms
        if num_seeds(collected, cell, arm, part.seeds)
    ]
    header = ["cell", "arm", "seeds", "test MSE", "test MAE", "best epoch", "seconds a run"]
    compared = [[cell_text(each.cell), each.arm, each.reference, *_compared(each)] for each in found if _is_begun(each)]
    return [
        Grid(header, arms, num_heads=2),
        Grid(["cell", "arm", "reference", *COMPARED, "p (Holm)", "seeds needed"], compared, num_heads=3),
    ]


def rule_table(rates: Sequence[SecondRate], collected: Collected) -> Grid:
    """Whether the second learning rate is due in each cell, and how many of its runs there are."""
    rows = []
    for rate in rates:
        cell, part = second_rate(rate.cell), core()
        num_first = sum(epoch == 1 for epoch in rate.best_epochs)
        due = ("yes" if rate.is_due else "no") if rate.is_known else "not known yet"
        done = sum(num_seeds(collected, cell, arm, part.seeds) for arm in part.arms)
        epochs = ", ".join(map(str, rate.best_epochs)) or "-"
        planned = len(part.arms) * len(part.seeds)
        first = f"{num_first} of {len(rate.best_epochs)}" if rate.best_epochs else "-"
        rows.append([cell_text(rate.cell, with_rate=True), epochs, first, due, f"{done} of {planned}"])
    header = ["cell", "best epochs of pretrained", "the first epoch", "due", "runs at a tenth of the rate"]
    return Grid(header, rows)


def simple_table(collected: Collected) -> Grid:
    """Test MSE of the simple models on the rows of the core's cells, with two arms of BALM beside."""
    arms = [(model, 1 if model in NAIVE else len(core().seeds)) for model in SIMPLE]
    arms += [(arm, len(core().seeds)) for arm in (NONE, PRETRAINED)]
    rows = []
    for arm, planned in arms:
        errors = [_mean(_in_setting(collected, cell, arm), planned) for cell in CELLS]
        rows.append([f"BALM, {arm}" if arm in (NONE, PRETRAINED) else arm, *errors])
    return Grid(["model", *map(cell_text, CELLS)], rows)


def runs_table(collected: Collected, second: Part | None) -> Grid:
    """How many of each part's runs there are; what belongs to no part before is counted for the last one."""
    rows = []
    for part in (core(), *([second] if second else []), *later_parts()):
        done = sum(num_seeds(collected, cell, arm, part.seeds) for cell in part.cells for arm in part.arms)
        rows.append([part.title, str(part.num_runs), str(done)])
    simple = sum(min(len(_in_setting(collected, cell, model)), _most(model)) for cell in CELLS for model in SIMPLE)
    rows.append(["6. Simple models on the same rows", str(num_simple_runs()), str(simple)])
    others = len(collected.rows) - sum(int(done) for *_, done in rows)
    rows.append(["7. Trained prompt, horizon 336, whole data sets, full precision, GPU", "-", str(others)])
    return Grid(["part of the plan", "runs planned", "runs finished"], rows)


def _most(model: str) -> int:
    return 1 if model in NAIVE else len(core().seeds)


def _in_setting(collected: Collected, cell: str, arm: str) -> Frame:
    """The runs of an arm in the cell, or of a simple model, which has a rate of its own, on the cell's rows."""
    if arm not in SIMPLE:
        return collected.of(cell, [arm])
    rows = collected.rows
    return rows[(rows["arm"] == arm) & (rows["cell"].map(setting_of) == setting_of(cell))]


def _errors(collected: Collected, part: Part, cell: str, arm: str) -> tuple[str, str, str]:
    """Number of seeds, MSE and MAE; the errors only when all seeds are there."""
    runs = collected.of(cell, [arm])
    runs = runs[runs["seed"].isin(part.seeds)]
    seeds = f"{len(runs)} of {len(part.seeds)}"
    if len(runs) < len(part.seeds):
        return seeds, "", ""
    return seeds, f"{runs['mse'].mean():.4f} ± {runs['mse'].std():.4f}", f"{runs['mae'].mean():.4f}"


def _mean(runs: Frame, planned: int) -> str:
    if not len(runs):
        return "not run"
    if len(runs) < planned:
        return f"{len(runs)} of {planned} seeds"
    spread = f" ± {runs['mse'].std():.4f}" if planned > 1 else ""
    return f"{runs['mse'].mean():.4f}{spread}"


def _facts(collected: Collected, cell: str, arm: str) -> tuple[str, str]:
    """Median best epoch, and what a run costs."""
    runs = collected.of(cell, [arm])
    if not len(runs):
        return "", ""
    return f"{runs['best_epoch'].astype(float).median():.0f}", f"{seconds_of(runs):.0f}"


def _is_begun(each: Comparison) -> bool:
    return each.found is not None or each.verdict != "not run"


def _texts(found: Sequence[Comparison]) -> tuple[str, str, str]:
    """Difference, interval and verdict of the only comparison; of an incomplete one, how many seeds there are."""
    (each,) = found
    if each.found is None:
        return "", "", each.verdict
    percent = 100 / each.found.reference
    low, high = each.found.low * percent, each.found.high * percent
    interval = f"{low:+.1f} to {high:+.1f} %" if each.found.is_tested else ""
    return f"{each.found.percent:+.1f} %", interval, each.verdict


def _compared(each: Comparison) -> tuple[str, ...]:
    is_tested = each.found is not None and each.found.is_tested
    p = "" if not is_tested else f"{each.corrected_p:.3f}" if each.corrected_p >= 0.001 else "< 0.001"
    return (*_texts([each]), p, seeds_text(each))
