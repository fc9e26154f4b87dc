"""The answer in three sentences, and how sure it is: never more than the verdicts of the cells say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from utils.report.significance import MIN_BLOCKS
from utils.verdict.comparisons import VERDICTS, Comparison, chosen
from utils.verdict.plan import CELLS, NONE, PRETRAINED, data_of
from utils.verdict.statistics import MARGIN, MOST_SEEDS

# Reference -> what a lower and a higher error of `pretrained` would show, and the reference in words.
QUESTIONS = {
    NONE: ("the text helps", "the text raises the error", "BALM without text"),
    "random": (
        "pretraining helps",
        "pretraining raises the error",
        "the same language model with random weights (mean of two fixed draws)",
    ),
    "numbers": (
        "the text helps more than the nine numbers",
        "the text is worse than the nine numbers",
        "the nine statistics as numbers instead of a text",
    ),
}
WINDOWS = "more test windows"
NO_CELL = "no cell that can be tested is complete yet, so there is no answer."


def answer(found: Sequence[Comparison]) -> list[str]:
    """A sentence for each question; one alone as long as no comparison can be tested."""
    sentences = [_sentence(chosen(found, arm=PRETRAINED, reference=reference), reference) for reference in QUESTIONS]
    if not any(sentences):
        return [NO_CELL[0].upper() + NO_CELL[1:]]
    return [
        sentence or f"Against {QUESTIONS[reference][2]}, {NO_CELL}"
        for sentence, reference in zip(sentences, QUESTIONS, strict=True)
    ]


def in_short(found: Sequence[Comparison]) -> str:
    """One sentence: what is concluded for each question, without the cells."""
    asked = {reference: _tested(chosen(found, arm=PRETRAINED, reference=reference)) for reference in QUESTIONS}
    said = [_conclusion(tested, reference) for reference, tested in asked.items() if tested]
    return "; ".join(said) + "." if said else NO_CELL


def certainty(found: Sequence[Comparison]) -> list[str]:
    """Remarks: which cells lack runs or windows, and what would decide the others."""
    asked = _asked(found)
    missing = [cell for cell in CELLS if any(each.found is None for each in chosen(asked, cell=cell))]
    remarks = []
    if missing:
        names = ", ".join(data_of(cell) for cell in missing) + (" lacks" if len(missing) == 1 else " lack")
        remarks.append(f"This is no final answer: of the plan's {len(CELLS)} cells, {names} runs of these arms.")
    for cell in CELLS:
        complete = [each for each in chosen(asked, cell=cell) if each.found is not None]
        if complete and not any(each.found.is_tested for each in complete if each.found):
            remarks.append(
                f"{data_of(cell)} decides nothing: its test split has fewer than {MIN_BLOCKS} disjoint blocks of two "
                "horizons."
            )
            continue
        by_text: dict[str, list[str]] = {}
        for each in complete:
            if each.verdict == "undecided":
                by_text.setdefault(_needed(each), []).append(each.reference)
        texts = [f"against {' and '.join(references)}, {text}" for text, references in by_text.items()]
        if texts:
            remarks.append(f"Undecided on {data_of(cell)}: {'; '.join(texts)}.")
    return remarks


def seeds_text(each: Comparison) -> str:
    """How many seeds an undecided comparison would need, in words; empty for one that is decided or incomplete."""
    if each.found is None or each.verdict != "undecided":
        return ""
    if not each.found.can_be_decided:
        return WINDOWS
    needed = each.found.seeds_needed
    # A difference that its own interval excludes from 0 may still be undecided after the correction.
    return f"more than {MOST_SEEDS} seeds" if needed is None else f"about {max(needed, each.found.num_seeds + 1)} seeds"


def _asked(found: Sequence[Comparison]) -> list[Comparison]:
    return [each for reference in QUESTIONS for each in chosen(found, arm=PRETRAINED, reference=reference)]


def _needed(each: Comparison) -> str:
    text = seeds_text(each)
    if text == WINDOWS:
        return f"if difference and scatter stay, no number of seeds would decide it, only {WINDOWS}"
    return f"{text} would decide it"


def _sentence(cells: Sequence[Comparison], reference: str) -> str:
    """What is found against one reference; empty if no cell that can be tested is complete."""
    tested = _tested(cells)
    if not tested:
        return ""
    said = []
    for word in VERDICTS:
        places = [f"{data_of(each.cell)} ({_percent(each)})" for each in tested if each.verdict == word]
        said += [f"{word} on {', '.join(places)}"] if places else []
    conclusion = _conclusion(tested, reference)
    return (
        f"{conclusion[0].upper()}{conclusion[1:]}: against {QUESTIONS[reference][2]}, the test MSE of BALM with the "
        f"pretrained language model is {'; '.join(said)}."
    )


def _tested(cells: Sequence[Comparison]) -> list[Comparison]:
    return [each for each in cells if each.found is not None and each.found.is_tested]


def _percent(each: Comparison) -> str:
    assert each.found is not None
    return f"{each.found.percent:+.1f} %"


def _conclusion(tested: Sequence[Comparison], reference: str) -> str:
    """The part before the colon: what the verdicts show, and nothing that they do not."""
    helps, harms, _ = QUESTIONS[reference]
    counts = Counter(each.verdict for each in tested)
    cells = f"{len(tested)} tested cell{'s' if len(tested) > 1 else ''}"
    better, worse, equal = (counts[word] for word in VERDICTS[:3])
    if better and worse:
        return f"{helps} in {better} of {cells}, but {harms} in {worse}"
    if better:
        return f"{helps} in {better} of {cells}"
    if worse:
        return f"it is not shown anywhere that {helps}, and {harms} in {worse} of {cells}"
    if equal:
        margin = f"{100 * MARGIN:.0f} %"
        return f"it is not shown anywhere that {helps}; the error differs by less than {margin} in {equal} of {cells}"
    return f"it is undecided whether {helps}"
