"""TimesNet: parameters by the published counts, periods of a row or of a batch, calendar features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from exp.command_line import parse_command
from layers.instance_norm import InstanceStatistics
from layers.timesnet.periods import Spectrum
from models.base import ForecastSpec
from models.timesnet import TimesNet, TimesNetConfig
from tests.parity.timesnet import periods_of

SEQ_LEN, PRED_LEN, CHANNELS = 32, 16, 2


def build(**settings) -> TimesNet:
    torch.manual_seed(0)
    config = TimesNetConfig(d_model=4, d_ff=6, **settings)
    return TimesNet.build(config, ForecastSpec(SEQ_LEN, PRED_LEN, CHANNELS)).eval()


def rows(num_rows: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    look_back = torch.randn(num_rows, SEQ_LEN, CHANNELS, generator=generator).cumsum(dim=1)
    return look_back, torch.rand(num_rows, SEQ_LEN + PRED_LEN, 4, generator=generator) - 0.5


@pytest.mark.parametrize(
    ("d_model", "d_ff", "seq_len", "channels", "count"),
    [
        (16, 32, 96, 7, 605_479),
        (16, 32, 512, 7, 898_759),
        (32, 32, 96, 7, 1_191_943),
        (32, 32, 512, 7, 1_485_223),
        (64, 64, 96, 7, 4_708_167),
        (64, 64, 512, 7, 5_001_447),
        (32, 32, 96, 21, 1_193_749),
        (64, 64, 96, 8, 4_708_424),
        (256, 512, 96, 321, 150_304_769),
        (512, 512, 96, 862, 301_692_958),
    ],
)
def test_the_published_sizes_have_the_published_number_of_parameters(d_model, d_ff, seq_len, channels, count):
    with torch.device("meta"):
        config = TimesNetConfig(d_model=d_model, d_ff=d_ff, compat_official=True)
        model = TimesNet.build(config, ForecastSpec(seq_len, 96, channels, num_time_features=5))
    assert model.count_parameters() == {"total": count, "trainable": count, "inference": count}


def test_features_of_a_finer_step_add_one_map():
    config = TimesNetConfig(d_model=64, d_ff=64)
    with torch.device("meta"):
        minutes = TimesNet.build(config, ForecastSpec(96, 96, 7, num_time_features=5))
    assert minutes.count_parameters()["total"] == 4_708_167 + 64


def test_a_row_is_forecast_the_same_alone_and_in_a_batch_while_its_images_share_the_weight():
    """A saturated softmax would hide a dependence on the batch, so the weights are checked too."""
    model, (look_back, marks) = build(), rows()
    together = model(look_back, marks).values
    for size in (1, 3):
        parts = zip(look_back.split(size), marks.split(size), strict=True)
        torch.testing.assert_close(torch.cat([model(*part).values for part in parts]), together, atol=1e-5, rtol=1e-5)
    assert len({tuple(found) for found in periods_of(model, look_back, marks)[:, 0].tolist()}) > 1
    embedded = model.embedding(InstanceStatistics.of(look_back).normalise(look_back), marks[:, :SEQ_LEN])
    series = model.extend(embedded.transpose(1, 2)).transpose(1, 2)
    weights = Spectrum.of(series, model.config.top_k, of_batch=False).amplitudes.softmax(dim=1)
    assert weights.max() < 0.95


def test_in_published_mode_a_forecast_depends_on_its_batch():
    model, (look_back, marks) = build(compat_official=True), rows()
    alone, together = model(look_back[:1], marks[:1]).values, model(look_back, marks).values[:1]
    assert (alone - together).abs().max() > 1e-2


def test_compat_official_turns_on_the_published_ways():
    config = TimesNetConfig(compat_official=True)
    assert config.batch_periods and config.time_step_features == "hourly"
    model = TimesNet.build(config, ForecastSpec(8, 4, 1))
    assert model.time_feature_step("15min") == "h"
    assert TimesNet.build(TimesNetConfig(), ForecastSpec(8, 4, 1)).time_feature_step("15min") == "15min"


def test_the_features_of_the_horizon_are_not_read():
    model, (look_back, marks) = build(), rows()
    changed = marks.clone()
    changed[:, SEQ_LEN:] = 9
    assert torch.equal(model(look_back, changed).values, model(look_back, marks).values)


def test_more_periods_than_frequencies_are_refused_by_their_flag():
    with pytest.raises(ValueError, match="--top_k must be at most half of --seq_len \\+ --pred_len, got 5 and 8 steps"):
        TimesNet.build(TimesNetConfig(), ForecastSpec(6, 2, 1))
    with pytest.raises(ValueError, match="--num_kernels must be at least 1, got 0"):
        TimesNetConfig(num_kernels=0)


def test_a_flag_of_the_decoder_that_is_never_built_is_refused():
    with pytest.raises(ValueError, match=r"--label_len .* means nothing here: no decoder is fed here"):
        parse_command(["--model", "TimesNet", "--label_len", "48"])
