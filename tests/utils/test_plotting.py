"""Pictures of a run."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from utils.plotting import loss_curves, plot_forecast, plot_training_curves, shown_interval

EPOCHS = [
    {
        "epoch": epoch,
        "train": {"loss": 2 / epoch, "mse": 1 / epoch, "alignment": 1 / epoch},
        "validation": {"mse": 1.1 / epoch, "mae": 0.9 / epoch},
        "learning_rate": 0.001,
    }
    for epoch in (1, 2, 3)
]


def draw(path: Path, num_channels: int, **options) -> np.ndarray:
    generator = np.random.default_rng(0)
    look_back, target = generator.normal(size=(48, num_channels)), generator.normal(size=(12, num_channels))
    columns = [f"channel {number}" for number in range(num_channels)]
    plot_forecast(
        path, look_back=look_back, target=target, forecast=target + 1, columns=columns, title="DLinear", **options
    )
    return matplotlib.image.imread(path)


def num_pixels(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture[..., :3] * 255 - colour).max(axis=-1) < 2).sum())


def is_drawn(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return num_pixels(picture, colour) > 0


def test_a_forecast_picture_shows_truth_and_forecast_and_grows_with_the_channels(tmp_path):
    one = draw(tmp_path / "one.png", 1, first_date="2016-07-01", time_step="h")
    many = draw(tmp_path / "many.png", 9)
    assert is_drawn(one, (0x00, 0x72, 0xB2)) and is_drawn(one, (0xD5, 0x5E, 0x00))
    assert many.shape[0] > one.shape[0]


def test_a_label_is_drawn_and_stored_in_the_picture(tmp_path):
    bare = draw(tmp_path / "bare.png", 1)
    labelled = draw(tmp_path / "labelled.png", 1, label="demo data, random LLM")
    assert is_drawn(labelled, (0xFD, 0xEB, 0xD0)) and not is_drawn(bare, (0xFD, 0xEB, 0xD0))
    assert b"demo data, random LLM" in (tmp_path / "labelled.png").read_bytes()


def test_a_prediction_interval_is_drawn_where_there_is_one(tmp_path):
    bare = draw(tmp_path / "bare.png", 1)
    banded = draw(tmp_path / "banded.png", 1, interval=(np.full((12, 1), -2.0), np.full((12, 1), 2.0)))
    tint = (0xED, 0xD8, 0xCA)  # the forecast's colour at 18 % over the tint of the horizon
    assert num_pixels(banded, tint) > 5000 and num_pixels(bare, tint) < 50


def test_the_widest_interval_up_to_90_percent_that_every_channel_has_is_shown():
    bounds = np.stack([np.full((2, 3), level) for level in (0.5, 0.8, 0.9, 0.95)])
    widest, too_few_errors = shown_interval((0.5, 0.8, 0.9, 0.95), bounds), bounds.copy()
    too_few_errors[2:, 1] = np.inf
    second = shown_interval((0.5, 0.8, 0.9, 0.95), too_few_errors)
    assert widest and widest[0] == 0.9 and (widest[1] == 0.9).all()
    assert second and second[0] == 0.8 and (second[1] == 0.8).all()
    assert shown_interval((0.95,), bounds[3:]) is None


@pytest.mark.parametrize("time_step", ["h", "15min", "7D", "MS"])
def test_dates_may_have_any_step_even_calendar_months(tmp_path, time_step):
    assert draw(tmp_path / "x.png", 2, first_date="2016-07-01", time_step=time_step).shape[2] == 4


def test_a_first_date_without_a_step_is_refused(tmp_path):
    with pytest.raises(ValueError, match="time_step"):
        draw(tmp_path / "x.png", 1, first_date="2016-07-01")


def test_a_dollar_sign_in_a_column_name_is_no_formula(tmp_path):
    values = np.zeros((4, 1))
    path = plot_forecast(
        tmp_path / "x.png", look_back=values, target=values, forecast=values, columns=["$_{"], title="$\\bad"
    )
    assert path.stat().st_size > 0


def test_training_curves_hold_each_loss_term_with_training_and_validation_together(tmp_path):
    curves = loss_curves(EPOCHS)
    assert list(curves) == ["loss", "mse", "alignment", "mae", "learning rate"]
    assert curves["mse"]["training"] == ([1, 2, 3], [1.0, 0.5, pytest.approx(1 / 3)])
    assert set(curves["mse"]) == {"training", "validation"} and set(curves["alignment"]) == {"training"}
    plot_training_curves(tmp_path / "curves.png", epochs=EPOCHS, title="BALM")
    assert is_drawn(matplotlib.image.imread(tmp_path / "curves.png"), (0xD5, 0x5E, 0x00))


def test_training_curves_of_no_epoch_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no epoch"):
        plot_training_curves(tmp_path / "x.png", epochs=[], title="BALM")
