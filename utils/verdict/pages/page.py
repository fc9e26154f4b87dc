"""The page of the verdict (docs/verdict): every sentence, figure and picture follows from the committed runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from utils.report.significance import MIN_BLOCKS
from utils.verdict.collection import PLACE, Collected
from utils.verdict.comparisons import (
    LONGER_BLOCKS,
    Comparison,
    comparisons_of,
    second_part,
    second_rates,
    with_longer_blocks,
)
from utils.verdict.pages.answer import answer, certainty
from utils.verdict.pages.claims import claims_table
from utils.verdict.pages.document import Document, Grid, Picture, Section, to_html, to_markdown
from utils.verdict.pages.few_windows import few_windows
from utils.verdict.pages.hypotheses import hypotheses_table
from utils.verdict.pages.plots import HIGHEST, cost, curves, forest
from utils.verdict.pages.remarks import naive_remark, other_model_remarks, second_rate_remarks, whole_remark
from utils.verdict.pages.store_savings import savings
from utils.verdict.pages.tables import cell_table, part_tables, reference_table, rule_table, runs_table, simple_table
from utils.verdict.plan import (
    CELLS,
    OTHER_MODELS,
    PRETRAINED,
    SEEDS_OF_SECOND_RATE,
    Part,
    cell_text,
    core,
    later_parts,
    other_model,
    whole,
)
from utils.verdict.settings import by_flag
from utils.verdict.statistics import BLOCK_HORIZONS, MARGIN

# Title of a part of the plan -> its comparisons.
Found = Mapping[str, Sequence[Comparison]]
PAGE, HTML = "README.md", "verdict.html"
FAR = round(100 * (HIGHEST - 1))
CAPTIONS = {
    "forest.svg": "Each arm against the same model without text and with random weights: test MSE in percent, with "
    "95 % intervals, in the cells that are tested.",
    "cost.svg": "Test MSE, mean over five seeds and one standard deviation, against seconds of training steps and "
    "testing at the pace of the fastest seed (How to read this), texts already read. "
    f"Arms more than {FAR} % above the lowest error of a cell are named in its corner.",
    "curves.svg": "Validation MSE by epoch: mean of the seeds, one standard deviation shaded; a line ends with the "
    f"last epoch that all its seeds reached. Arms more than {FAR} % above the lowest error of a cell are named in its "
    "corner.",
}


def files(collected: Collected, place: Path = PLACE) -> dict[str, bytes]:
    """Name -> content of every file that the page consists of; a picture with nothing to show is not among them."""
    second = second_part(collected)
    found = _comparisons(collected, second)
    drawn = pictures(collected, found, [*CELLS, *(second.cells if second else [])])
    page = _document(collected, place, found, second, list(drawn))
    return {PAGE: to_markdown(page).encode(), HTML: to_html(page, drawn).encode(), **drawn}


def document(collected: Collected, place: Path = PLACE) -> Document:
    """The page without its pictures."""
    second = second_part(collected)
    return _document(collected, place, _comparisons(collected, second), second, [])


def _llm(collected: Collected) -> str:
    """The pretrained language model of the core's runs, and how much of it they read."""
    texts = set[str]()
    for cell in CELLS:
        for row in collected.of(cell, [PRETRAINED]).to_dict("records"):
            if row.get("labels"):
                blocks = by_flag(json.loads(row["flags"])).get("llm_layers", "all")
                texts.add(f"; LLM: {str(row['labels']).removeprefix('LLM ')}, first {blocks} blocks")
    return "".join(sorted(texts))


def _comparisons(collected: Collected, second: Part | None) -> Found:
    parts = [core(), *([second] if second else []), *later_parts()]
    return {part.title: comparisons_of(collected, part) for part in parts}


def pictures(collected: Collected, found: Found, cells: Sequence[str]) -> dict[str, bytes]:
    """The pictures by file name, as far as there is something to show."""
    drawn = {
        "forest.svg": forest([each for part in found.values() for each in part], title="Differences of the test MSE"),
        "cost.svg": cost(collected, cells, title="Error against compute"),
        "curves.svg": curves(collected, cells, title="Learning curves"),
    }
    return {name: content for name, content in drawn.items() if content}


def _document(collected: Collected, place: Path, found: Found, second: Part | None, drawn: Sequence[str]) -> Document:
    shown, primary = {name: Picture(name, CAPTIONS[name]) for name in drawn}, found[core().title]
    runs = runs_table(collected, second)
    sections = [
        Section("The plan's hypotheses", [hypotheses_table(primary)]) if _any(primary) else None,
        Section("All cells and arms", [shown["forest.svg"]]) if "forest.svg" in shown else None,
        *_cells(collected, primary, core()),
        Section("pretrained against each arm", [reference_table(primary, CELLS)]) if _any(primary) else None,
        _second(collected, second, found[second.title] if second else []),
        *(_later(collected, part, found[part.title]) for part in later_parts()),
        _simple(collected),
        *(Section(title, [shown[name]]) for title, name in _PLOTS if name in shown),
        _longer_blocks(collected, found, second),
        _how_to_read(),
        _claims(collected, place),
        savings(collected),
        _probe(place),
        Section("What has been run", [runs]),
    ]
    return Document(
        "Does the language model help?",
        "Generated by `python -m utils.verdict` from [results.csv](results.csv); the [plan](plan.md) was committed "
        "before the first run; its amendments, with their dates, changed since how differences are judged. The page as "
        f"one file: [verdict.html](verdict.html). BALM-TSF with a fixed text, trained on a tenth of the training rows "
        f"(ILI: all){_llm(collected)}.",
        answer(primary),
        [
            *certainty(primary),
            *second_rate_remarks(collected, found[second.title] if second else []),
            *whole_remark(found[whole().title]),
            *(text for model in OTHER_MODELS for text in other_model_remarks(found[other_model(model).title], model)),
            *naive_remark(collected),
            *_still_to_run(runs),
        ],
        [section for section in sections if section is not None],
    )


def _still_to_run(runs: Grid) -> list[str]:
    """A remark on the parts that lack runs."""
    lacking = [
        f"{title} ({done} of {planned} runs)"
        for title, planned, done in runs.rows
        if planned.isdecimal() and int(done) < int(planned)
    ]
    return [f"Still to be run, of the plan: {'; '.join(lacking)}."] if lacking else []


_PLOTS = (("Error against compute", "cost.svg"), ("Learning curves", "curves.svg"))


def _any(found: Sequence[Comparison]) -> bool:
    return any(each.verdict != "not run" for each in found)


def _cells(collected: Collected, found: Sequence[Comparison], part: Part) -> list[Section]:
    """A table for each cell that has a run."""
    begun = [cell for cell in part.cells if len(collected.of(cell, part.arms))]
    return [Section(cell_text(cell, with_rate=True), _cell(collected, found, part, cell)) for cell in begun]


def _cell(collected: Collected, found: Sequence[Comparison], part: Part, cell: str) -> list[str | Grid | Picture]:
    remark = few_windows(collected, part, cell)
    return [cell_table(collected, found, part, cell), *([remark] if remark else [])]


def _second(collected: Collected, second: Part | None, found: Sequence[Comparison]) -> Section:
    rule = (
        "By the plan, all arms of a cell are run again at a tenth of the learning rate if the best validation epoch of "
        f"`pretrained` is the first in at least {SEEDS_OF_SECOND_RATE} of its {len(core().seeds)} seeds. The first "
        "rate stays the primary one: the sentences at the top are about it alone."
    )
    blocks: list[str | Grid | Picture] = [rule, rule_table(second_rates(collected), collected)]
    if second is None:
        return Section("Second learning rate", blocks)
    for cell in second.cells:
        if len(collected.of(cell, second.arms)):
            blocks += [f"{cell_text(cell, with_rate=True)}:", *_cell(collected, found, second, cell)]
    if _any(found):
        blocks += [
            f"pretrained against each arm, p-values corrected over these cells ({len(second.cells)}):",
            reference_table(found, second.cells),
        ]
    return Section("Second learning rate", blocks)


def _later(collected: Collected, part: Part, found: Sequence[Comparison]) -> Section:
    if not any(collected.seeds_of(cell, arm) for cell in part.cells for arm in part.arms):
        return Section(part.title, ["Not run."])
    arms, compared = part_tables(collected, found, part)
    remarks = [few_windows(collected, part, cell) for cell in part.cells]
    notes = [part.note] if part.note else []
    return Section(part.title, [*notes, arms, *([compared] if compared.rows else []), *filter(None, remarks)])


def _simple(collected: Collected) -> Section:
    text = "Test MSE; mean and standard deviation over five seeds, BALM's arms beside. Naive forecasts have no seed."
    return Section("6. Simple models on the same rows", [text, simple_table(collected)])


def _longer_blocks(collected: Collected, found: Found, second: Part | None) -> Section | None:
    """Which verdicts would be others with longer blocks of windows."""
    rows, num_tested = [], 0
    for part in (core(), *([second] if second else []), *later_parts()):
        before = {(each.cell, each.arm, each.reference): each for each in found[part.title]}
        for each in with_longer_blocks(collected, part, found[part.title]):
            num_tested += 1
            old = before[each.cell, each.arm, each.reference]
            if each.verdict != old.verdict:
                p_values = [f"{one.corrected_p:.3f}" for one in (old, each)]
                rows.append([part.title, cell_text(each.cell), each.arm, each.reference, old.verdict, p_values[0]])
                rows[-1] += [each.verdict, p_values[1]]
    if not num_tested:
        return None
    outcome = f"{len(rows)} of the {num_tested} verdicts that can be tested so would be others"
    text = (
        "Errors of windows further apart than a horizon may depend on each other too. With blocks of "
        f"{LONGER_BLOCKS} horizons instead of {BLOCK_HORIZONS}, {outcome}{':' if rows else '.'}"
    )
    header = ["part", "cell", "arm", "reference", "verdict", "p (Holm)", "with longer blocks", "p (Holm)"]
    return Section("Longer blocks of windows", [text, *([Grid(header, rows, num_heads=4)] if rows else [])])


def _how_to_read() -> Section:
    text = (
        "Differences are of the test MSE in scaled units, in percent of the reference; a negative one means a "
        "lower error. `random` as a reference is the mean of its two fixed draws, seed by seed; no interval covers the "
        "choice of the draws. Intervals: Student's t with the standard error of a circular block bootstrap over the "
        "test windows crossed with seeds; they are not corrected. Better and worse: the difference is not 0 at 5 % "
        "after Holm's correction, so that an interval without 0 may be undecided. It is over the cells of a part, "
        "whether they have been run or not, and over the references of one hypothesis, for each arm by itself: not "
        "over arms, hypotheses and parts, so that a few of the page's verdicts may be chance. Equivalent: two "
        f"one-sided tests at 5 %, not corrected, with a margin of {100 * MARGIN:.0f} %. Seeds needed: if the "
        "difference and its scatter stay, at the strictest step of the correction; more test windows where no number "
        f"of seeds would do. A cell with fewer than {MIN_BLOCKS} disjoint blocks of {BLOCK_HORIZONS} horizons in its "
        "test split (ILI) is not tested. Without all seeds there is no verdict. Seconds: the mean number of steps, "
        "each at the pace of the fastest seed, and the fastest test, since other work ran beside; without validation "
        "and without the reading of the texts, which is done once for all seeds."
    )
    scale = (
        "BALM divides the states of a text by their deviation from each other. Those of `words` are running means of "
        "word embeddings and differ little, and so, less so, those of `random`: they reach the head many times larger "
        "than those of `pretrained`. How much of a difference to these two is one of scale has not been run "
        "(`--no_scaling`)."
    )
    return Section("How to read this", [text, scale])


def _claims(collected: Collected, place: Path) -> Section | None:
    table = claims_table(collected, place)
    return Section("Published claims", [table]) if table else None


def _probe(place: Path) -> Section:
    file = place / "probe.csv"
    if not file.is_file():
        return Section("Linear probe", ["Not run: `python -m exp.probe` writes probe.csv."])
    table = pd.read_csv(file)
    arms = list(table.columns[3:])
    rows = [[row["statistic"], *map(_r2, row[arms])] for _, row in table.iterrows()]
    text = (
        "R2 of reading each statistic back from the mean text state by ridge regression (`python -m exp.probe`, "
        f"ETTh1, {table['windows'][0]} training windows, {table['llm_model'][0]}; random: draw 2021), tested on the "
        "validation split without its first look-back; 1 is all, 0 or less is nothing."
    )
    return Section("Linear probe", [text, Grid(["statistic", *arms], rows)])


def _r2(value: float) -> str:
    return "constant" if pd.isna(value) else f"{value:.2f}"
