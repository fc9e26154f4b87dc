"""Patience counts epochs without a better validation error."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from utils.early_stopping import EarlyStopping


def after(*errors: float, patience: int = 2) -> tuple[EarlyStopping, list[bool]]:
    stopping = EarlyStopping(patience)
    return stopping, [stopping.update(error, epoch=epoch) for epoch, error in enumerate(errors, start=1)]


def test_only_a_smaller_error_is_an_improvement():
    stopping, improved = after(3.0, 3.0, 2.0, 2.5)
    assert improved == [True, False, True, False]
    assert (stopping.best, stopping.best_epoch) == (2.0, 3)


def test_it_stops_when_patience_has_run_out_and_not_before():
    assert not after(1.0, 2.0)[0].should_stop
    assert after(1.0, 2.0, 3.0)[0].should_stop


def test_an_improvement_renews_patience():
    assert not after(3.0, 4.0, 2.0, 4.0)[0].should_stop


def test_a_record_comes_back_as_it_was():
    stopping, _ = after(3.0, 4.0)
    assert EarlyStopping.of_record(asdict(stopping), num_epochs=2) == stopping
    assert EarlyStopping.of_record(asdict(EarlyStopping(2)), num_epochs=0) == EarlyStopping(2)


@pytest.mark.parametrize(
    "change",
    [{"best_epoch": 7}, {"best": None}, {"best": "x"}, {"patience": None}, {"epochs_without_improvement": 0.5}],
)
def test_a_record_that_cannot_be_is_refused(change):
    with pytest.raises(ValueError, match="early stopping"):
        EarlyStopping.of_record({**asdict(after(3.0, 4.0)[0]), **change}, num_epochs=2)
