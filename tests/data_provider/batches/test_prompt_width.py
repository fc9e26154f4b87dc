"""The padded width of a batch's prompts depends on these prompts alone, so that a resumed run computes the same."""

import pytest
import torch

from data_provider.batches.prompt_width import cut_prompts
from data_provider.config import DataConfig
from data_provider.data_factory import data_provider
from data_provider.series import Series


def prompts_of(look_back: torch.Tensor) -> dict[str, torch.Tensor]:
    """Prompts of 1 to 30 tokens, padded to the longest of those that are made together."""
    lengths = 1 + (look_back.mean(dim=(1, 2)) * 1000).abs().long() % 30
    ids = torch.arange(int(lengths.max())) < lengths[:, None]
    return {"prompt_ids": ids.to(torch.uint16), "prompt_lengths": lengths}


def test_a_batch_is_as_wide_whatever_was_kept_before(series: Series, config: DataConfig):
    def loader():
        return data_provider(
            series, "train", config=config, channel_independent=True, batch_size=4, seed=1, prompt_inputs=prompts_of
        )[1]

    fresh, used = loader(), loader()
    used.batch(torch.arange(200))
    for rows in torch.randperm(200, generator=torch.Generator().manual_seed(0)).split(4):
        made, kept = (one.batch(rows).inputs["prompt_ids"] for one in (fresh, used))
        assert torch.equal(made.int(), kept.int())


@pytest.mark.parametrize("channels", [(), (3,)])
def test_on_a_gpu_widths_are_multiples_so_that_shapes_are_few(channels):
    ids = torch.ones(2, 21, *channels, dtype=torch.uint16)
    lengths = torch.tensor([5, 11]).reshape(2, *[1] * len(channels)).expand(2, *channels)
    for given in (ids, ids[:, :11]):
        cut = cut_prompts({"prompt_ids": given, "prompt_lengths": lengths}, multiple=8)["prompt_ids"]
        assert cut.shape == (2, 16, *channels) and cut[:, :11].int().min() == 1
