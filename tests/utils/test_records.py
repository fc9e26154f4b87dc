"""Values from files are held against the kind of value that belongs there."""

from __future__ import annotations

import pytest

from utils.records import check_alike

LIKE = {"rate": 0.1, "epochs": 3, "best": None, "loud": True, "betas": (0.9, 0.99), "name": "adam"}


def test_values_of_the_same_kind_pass():
    check_alike({"rate": 1, "epochs": 7, "best": None, "loud": False, "betas": [0.5, 0], "name": ""}, LIKE, "state")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"rate": "0.1"}, "state/rate"),
        ({"rate": float("nan")}, "state/rate"),
        ({"rate": True}, "state/rate"),
        ({"epochs": 3.0}, "state/epochs"),
        ({"best": 1.0}, "state/best"),
        ({"loud": 1}, "state/loud"),
        ({"betas": [0.9]}, "state/betas should be a list of 2"),
        ({"betas": [0.9, None]}, "state/betas/1"),
        ({"name": None}, "state/name"),
        ({"more": 1}, "state should have the entries"),
    ],
)
def test_a_value_of_another_kind_is_named_with_its_place(change, place):
    with pytest.raises(ValueError, match=place):
        check_alike({**LIKE, **change}, LIKE, "state")
