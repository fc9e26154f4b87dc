"""A row's features are the same to the last digit alone and among others, of its own length or of any."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from exp.training.features.rows import features_alone
from layers.backbones import Backbone
from models.base import Forecaster
from tests.models.small_balm import small_balm, walks
from tests.models.test_time_llm import small as small_time_llm

NUM_ROWS = 60


def prompts_of(model: Forecaster) -> dict[str, Tensor]:
    look_back = walks(NUM_ROWS) * torch.logspace(-3, 3, NUM_ROWS)[:, None, None]
    return model.prompt_inputs(look_back)


def chosen(inputs: dict[str, Tensor], rows: list[int]) -> dict[str, Tensor]:
    return {name: value[torch.tensor(rows)] for name, value in inputs.items()}


@pytest.mark.parametrize("kind", ["BALM", "TimeLLM"])
def test_a_row_has_the_features_of_all_together_alone_and_with_rows_of_its_length(kind: str):
    model = small_balm(freeze_prompt_after=0) if kind == "BALM" else small_time_llm()
    model.eval()
    inputs = prompts_of(model)
    lengths = inputs["prompt_lengths"].tolist()
    assert len(set(lengths)) > 2
    together = features_alone(model, inputs)
    same_length = [[row for row in range(NUM_ROWS) if lengths[row] == length] for length in set(lengths)]
    for rows in [*([row] for row in range(NUM_ROWS)), *same_length]:
        for name, found in features_alone(model, chosen(inputs, rows)).items():
            for place, row in enumerate(rows):
                expected = together[name][row]
                width = min(expected.shape[0], found.shape[1]) if found.ndim > 1 else None
                assert torch.equal(
                    found[place][:width] if width else found[place], expected[:width] if width else expected
                )


@pytest.mark.parametrize("kind", ["BALM", "TimeLLM"])
def test_the_language_model_reads_every_group_of_a_width_in_one_shape(kind: str, monkeypatch: pytest.MonkeyPatch):
    model = small_balm(freeze_prompt_after=0) if kind == "BALM" else small_time_llm()
    inputs, shapes = prompts_of(model.eval()), set()
    embed = Backbone.embed

    def noting(backbone: Backbone, ids: Tensor) -> Tensor:
        shapes.add(tuple(ids.shape))
        return embed(backbone, ids)

    monkeypatch.setattr(Backbone, "embed", noting)
    lengths = inputs["prompt_lengths"].tolist()
    for row in range(NUM_ROWS):
        features_alone(model, chosen(inputs, [row]))
    # The common beginning of Time-LLM's prompts is read once, as one row.
    assert len({shape for shape in shapes if shape[0] > 1}) == len({-(-length // 16) for length in lengths})
