"""The answer in three sentences, and how sure it is: never more than the verdicts of the cells say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from utils.verdict.comparisons import VERDICTS, Comparison, chosen
from utils.verdict.plan import CELLS, NONE, PRETRAINED, data_of
from utils.verdict.statistics import MARGIN, MOST_SEEDS

# Reference -> what a lower error of `pretrained` would show, and the reference in words.
QUESTIONS = {
    NONE: ("the text helps", "the text makes it worse", "BALM without text"),
    "random": (
        "pretraining helps",
        "pretraining makes it worse",
        "the same language model with random weights",
    ),
    "numbers": (
        "language adds to the nine numbers",
        "language is worse than the nine numbers",
        "the nine statistics as numbers instead of a text",
    ),
}


def answer(found: Sequence[Comparison]) -> list[str]:
    """A sentence for each question; one alone as long as no comparison is complete."""
    sentences = [_sentence(chosen(found, arm=PRETRAINED, reference=reference), reference) for reference in QUESTIONS]
    if not any(sentences):
        return ["No cell is complete yet, so there is no answer."]
    return [
        sentence or f"Against {QUESTIONS[reference][2]}, no cell is complete yet, so there is no answer."
        for sentence, reference in zip(sentences, QUESTIONS, strict=True)
    ]


def certainty(found: Sequence[Comparison]) -> list[str]:
    """Remarks: how many cells are complete, and how many seeds would decide what is undecided."""
    asked = [each for reference in QUESTIONS for each in chosen(found, arm=PRETRAINED, reference=reference)]
    missing = [cell for cell in CELLS if any(each.found is None for each in chosen(asked, cell=cell))]
    remarks = []
    if missing:
        names = ", ".join(data_of(cell) for cell in missing) + (" lacks" if len(missing) == 1 else " lack")
        remarks.append(f"This is no final answer: of the plan's {len(CELLS)} cells, {names} runs of these arms.")
    for cell in CELLS:
        undecided = [each for each in chosen(asked, cell=cell) if each.verdict == "undecided"]
        by_reference: dict[str, list[str]] = {}
        for each in undecided:
            by_reference.setdefault(seeds_text(each), []).append(each.reference)
        texts = [f"against {' and '.join(references)} {text}" for text, references in by_reference.items()]
        if texts:
            remarks.append(f"To decide {data_of(cell)} it would take, {'; '.join(texts)}.")
    return remarks


def seeds_text(each: Comparison) -> str:
    """How many seeds an undecided comparison would need, in words; empty for one that is decided or incomplete."""
    if each.found is None or each.verdict != "undecided":
        return ""
    if not each.found.is_tested:
        return "more test windows"
    needed = each.found.seeds_needed
    # The draws and the normal distribution of the estimate differ a little.
    return f"more than {MOST_SEEDS} seeds" if needed is None else f"about {max(needed, each.found.num_seeds + 1)} seeds"


def _sentence(cells: Sequence[Comparison], reference: str) -> str:
    """What is found against one reference; empty if no cell is complete."""
    complete = [each for each in cells if each.found is not None]
    if not complete:
        return ""
    helps, harms, other = QUESTIONS[reference]
    counts = Counter(each.verdict for each in complete)
    said = ", ".join(f"{word} in {counts[word]}" for word in VERDICTS if counts[word])
    sizes = ", ".join(f"{data_of(each.cell)} {each.found.percent:+.1f} %" for each in complete if each.found)
    many = _cells(len(complete), len(cells))
    return (
        f"{_conclusion(counts, helps, harms, many)}: against {other}, BALM with the pretrained language model is "
        f"{said} of {many} (test MSE: {sizes})."
    )


def _cells(num_complete: int, num_planned: int) -> str:
    if num_complete == num_planned:
        return f"{num_planned} cells"
    return f"{num_complete} complete cell{'s' if num_complete > 1 else ''}"


def _conclusion(counts: Counter[str], helps: str, harms: str, cells: str) -> str:
    """The part before the colon: what the verdicts show, and nothing that they do not."""
    better, worse, equal = (counts[word] for word in VERDICTS[:3])
    if better and worse:
        text = f"{helps} in {better} of {cells}, but {harms} in {worse}"
    elif better:
        text = f"{helps} in {better} of {cells}"
    elif worse:
        text = f"it is not shown anywhere that {helps}, and {harms} in {worse} of {cells}"
    elif equal:
        margin = f"{100 * MARGIN:.0f} %"
        text = f"it is not shown anywhere that {helps}; the error differs by less than {margin} in {equal} of {cells}"
    else:
        text = f"it is undecided whether {helps}"
    return text[0].upper() + text[1:]
