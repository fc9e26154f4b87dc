"""Prompt wording and tokens."""

import pandas as pd
import pytest
import torch

from layers.llm.tokenizer import END_OF_TEXT, byte_level_tokenizer, find_tokenizer
from layers.prompt import WORDS, prompt_texts, tokenise
from layers.statistics import RowStatistics

STATISTICS = RowStatistics(
    minimum=torch.tensor([-1.5, 0.1]),
    maximum=torch.tensor([2.0, 1e-5]),
    median=torch.tensor([-0.001, 0.5]),
    upward=torch.tensor([True, False]),
    lags=torch.tensor([[24, 48, 1, 23, 2], [1, 2, 3, 4, 5]]),
)


def test_a_prompt_says_the_statistics_with_the_digits_of_the_float32_value():
    assert prompt_texts(STATISTICS) == [
        "min value -1.5, max value 2.0, median value -0.0010000000474974513, the trend of input is upward, "
        "top 5 lags are : [24, 48, 1, 23, 2], ",
        "min value 0.10000000149011612, max value 9.999999747378752e-06, median value 0.5, "
        "the trend of input is downward, top 5 lags are : [1, 2, 3, 4, 5], ",
    ]


def test_digits_are_decimals_and_a_rounded_zero_has_no_sign():
    assert prompt_texts(STATISTICS, digits=2)[0].startswith("min value -1.5, max value 2.0, median value 0.0, ")
    assert prompt_texts(STATISTICS, digits=1)[1].startswith("min value 0.1, max value 0.0, median value 0.5, ")


def test_tokens_stand_first_then_zeros_and_lengths_count_the_tokens():
    tokenizer = byte_level_tokenizer(WORDS)
    texts = ["min", "min value 12"]
    ids, lengths = tokenise(tokenizer, texts)
    assert ids.dtype == torch.uint16
    assert lengths.tolist() == [3, 6]
    assert [tokenizer.decode(row[:length]) for row, length in zip(ids.tolist(), lengths, strict=True)] == texts
    assert ids[0, 3:].tolist() == [0, 0, 0]


def test_a_short_text_is_preceded_by_padding_tokens_where_more_are_needed():
    tokenizer = byte_level_tokenizer(WORDS)
    end = tokenizer.token_to_id(END_OF_TEXT)
    assert end is not None
    ids, lengths = tokenise(tokenizer, ["min", "min value 12"], min_tokens=5, pad_id=end)
    assert lengths.tolist() == [5, 6]
    assert ids[0, :3].tolist() == [end, end, tokenise(tokenizer, ["min"])[0][0, 0].item()]


def etth1_training_rows(shared) -> torch.Tensor:
    """All rows of ETTh1 at a look-back of 512 and a horizon of 96: window-major, channel fastest, scaled."""
    table = pd.read_csv(shared / "dataset" / "ETT-small" / "ETTh1.csv", index_col="date")
    values = torch.tensor(table.to_numpy()[:8640])
    scaled = ((values - values.mean(dim=0)) / values.std(dim=0, unbiased=False)).float()
    return scaled.unfold(0, 512, 1)[: 8640 - 512 - 96 + 1].reshape(-1, 512)


def published_prompt_lengths(rows: torch.Tensor, shared) -> torch.Tensor:
    tokenizer = find_tokenizer(shared / "gpt2_tokenizer", flag="--llm_tokenizer")
    chunks = [RowStatistics.of(chunk, all_lags=True, float32=True) for chunk in rows.split(4096)]
    return torch.cat([tokenise(tokenizer, prompt_texts(chunk))[1] for chunk in chunks]).double()


@pytest.mark.shared
def test_published_prompts_of_a_sample_of_etth1_are_56_to_68_gpt2_tokens(shared):
    rows = etth1_training_rows(shared)
    assert len(rows) == 56_231
    lengths = published_prompt_lengths(rows[::97], shared)
    assert lengths.min() >= 56 and lengths.max() <= 68
    assert lengths.mean().item() == pytest.approx(63.58, abs=0.2)


@pytest.mark.shared
@pytest.mark.long
def test_published_prompts_of_all_etth1_rows_are_56_to_68_gpt2_tokens_and_63_58_on_average(shared):
    lengths = published_prompt_lengths(etth1_training_rows(shared), shared)
    # Which of two equal lags is named is float32 rounding, and differs from one processor to another.
    assert lengths.min() >= 56 and lengths.max() <= 68
    assert lengths.mean().item() == pytest.approx(63.58, abs=0.05)
