"""A sample of `python -m tests.endurance`; `make test-long` runs all of it."""

from __future__ import annotations

import pytest

from tests.endurance.__main__ import main
from tests.endurance.damage import damage_every_file
from tests.endurance.hostile import feed_hostile_inputs


def test_hostile_inputs_end_in_sound_values_or_in_one_line(tmp_path):
    counts = feed_hostile_inputs(tmp_path, 250, seed=1)
    assert not counts.problems, counts.problems


def test_damaged_files_are_named_mended_or_make_no_difference(tmp_path):
    counts = damage_every_file(tmp_path, seed=1, times=1, kinds=("bit", "foreign"))
    assert not counts.problems, counts.problems


@pytest.mark.long
def test_nothing_is_lost_or_believed_in_great_numbers():
    import os

    kills, inputs = os.environ.get("ENDURANCE_KILLS", "100"), os.environ.get("ENDURANCE_INPUTS", "20000")
    assert main(["--kills", kills, "--inputs", inputs]) == 0
