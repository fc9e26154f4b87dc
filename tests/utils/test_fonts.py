"""Names of channels in other scripts are drawn without boxes."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest

from utils import fonts
from utils.plotting import plot_forecast


def test_latin_and_cyrillic_names_are_drawn_as_they_are():
    assert fonts.drawable("Température (°C), нагрузка") == ("Température (°C), нагрузка", {})


def test_a_font_of_the_machine_is_used_if_it_has_the_letters(monkeypatch):
    monkeypatch.setattr(fonts, "_family_with", lambda _: "Wide")
    assert fonts.drawable("负荷 1") == ("负荷 1", {"fontfamily": ["DejaVu Sans", "Wide"]})


def test_without_a_font_names_are_transliterated_with_one_warning(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(fonts, "_family_with", lambda _: None)
    fonts._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fonts.drawable("负荷 (kW)")[0].startswith("Fu He")
        waves = np.zeros((4, 2))
        plot_forecast(
            tmp_path / "plot.png", look_back=waves, target=None, forecast=waves, columns=["负荷", "温度"], title="负荷"
        )
    assert len([record for record in caplog.records if "Latin letters" in record.message]) == 1


@pytest.mark.parametrize("name", ["负荷", "температура"])
def test_what_is_drawn_has_letters_of_the_font(name):
    shown, options = fonts.drawable(name)
    assert options or not fonts._missing(shown)


def test_control_characters_are_drawn_escaped():
    assert fonts.drawable("load\x1b[2J\x07") == ("load\\x1b[2J\\x07", {})
