"""What stands beside the answer: naive forecasts, the second learning rate, all training rows, other models."""

from __future__ import annotations

from collections.abc import Sequence

from utils.verdict.collection import Collected
from utils.verdict.comparisons import Comparison, chosen, num_seeds
from utils.verdict.pages.answer import QUESTIONS
from utils.verdict.plan import (
    ARMS,
    CELLS,
    NAIVE,
    NONE,
    OTHER_MODELS,
    PRETRAINED,
    SEEDS,
    cell_text,
    data_of,
    second_rate,
    setting_of,
)


def naive_remark(collected: Collected) -> list[str]:
    """In which cells repeating the past has a lower error than the pretrained arm."""
    texts = []
    for cell in CELLS:
        naive = _naive_errors(collected, cell)
        errors = {arm: _mean(collected, cell, arm, "mse") for arm in ARMS if num_seeds(collected, cell, arm, SEEDS)}
        if num_seeds(collected, cell, PRETRAINED, SEEDS) < len(SEEDS) or not naive:
            continue
        model = min(naive, key=naive.__getitem__)
        if naive[model] < errors[PRETRAINED]:
            best = ", and no arm of BALM reaches it" if naive[model] < min(errors.values()) else ""
            texts.append(f"{data_of(cell)} ({model} {naive[model]:.3f}, pretrained {errors[PRETRAINED]:.3f}{best})")
    return [f"Repeating the past has the lower test MSE on {' and '.join(texts)}."] if texts else []


def second_rate_remarks(collected: Collected, second: Sequence[Comparison]) -> list[str]:
    """What the cells at a tenth of the learning rate say, their validation errors and best epochs."""
    remarks = []
    for cell in CELLS:
        slower = second_rate(cell)
        asked = [each for each in chosen(second, arm=PRETRAINED, cell=slower) if each.reference in QUESTIONS]
        texts = [f"against {each.reference} {compared_text(each)}" for each in asked if each.found is not None]
        if not texts:
            continue
        validation = [
            f"{arm} {_mean(collected, slower, arm, 'validation_mse'):.3f} instead of "
            f"{_mean(collected, cell, arm, 'validation_mse'):.3f}"
            for arm in (PRETRAINED, NONE)
        ]
        epochs = collected.of(slower, [PRETRAINED])["best_epoch"].tolist()
        num_first = sum(int(epoch) == 1 for epoch in epochs)
        remarks.append(
            f"{data_of(cell)} at a tenth of the learning rate, which the plan asks for there because the first epoch "
            f"was the best: {', '.join(texts)}. Validation MSE there: {', '.join(validation)}. The first epoch of "
            f"pretrained is the best there in {num_first} of {len(epochs)} seeds."
        )
    return remarks


def whole_remark(whole: Sequence[Comparison]) -> list[str]:
    """What ETTh1 with all training rows says, as far as it has run."""
    texts = [
        f"against {each.reference} {compared_text(each)}"
        for each in chosen(whole, arm=PRETRAINED)
        if each.found is not None
    ]
    return [f"With all training rows of {data_of(whole[0].cell)}: {', '.join(texts)}."] if texts else []


def other_model_remarks(found: Sequence[Comparison], model: str) -> list[str]:
    """What another model with a language model says, in the cells that are tested."""
    arm, remarks = f"{model} {PRETRAINED}", []
    for cell in dict.fromkeys(each.cell for each in found):
        texts = [
            f"against {each.reference.removeprefix(model).strip()} {compared_text(each)}"
            for each in chosen(found, arm=arm, cell=cell)
            if each.found is not None and each.found.is_tested
        ]
        if texts:
            text = f"{model} with the pretrained language model, {cell_text(cell)}: {', '.join(texts)}."
            remarks.append(f"{text} {OTHER_MODELS[model][1]}".strip())
    return remarks


def compared_text(each: Comparison) -> str:
    """Verdict and difference in percent."""
    assert each.found is not None
    return f"{each.verdict} ({each.found.percent:+.1f} %)"


def _naive_errors(collected: Collected, cell: str) -> dict[str, float]:
    """Test MSE of the naive forecasts on the cell's rows; they have no learning rate."""
    rows = collected.rows
    if not len(rows):
        return {}
    found = rows[rows["arm"].isin(NAIVE) & (rows["cell"].map(setting_of) == setting_of(cell))]
    return dict(zip(found["arm"], found["mse"].astype(float), strict=True))


def _mean(collected: Collected, cell: str, arm: str, column: str) -> float:
    runs = collected.of(cell, [arm])
    return float(runs[column].astype(float).mean()) if column in runs else float("nan")
