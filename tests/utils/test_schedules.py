"""Learning rates by epoch and step, their continuation, and early stopping."""

from __future__ import annotations

import json
import math

import pytest
import torch

from exp.config import TrainConfig
from utils.schedules import SCHEDULES, EarlyStopping, Schedule, cosine

PEAK, STEPS, EPOCHS = 0.4, 5, 6


def schedule(name: str, *, constant_group: bool = False) -> tuple[torch.optim.Optimizer, Schedule]:
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": PEAK, "scheduled": True}]
    if constant_group:
        groups.append({"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.01, "scheduled": False})
    optimizer = torch.optim.Adam(groups)
    return optimizer, Schedule(name, optimizer, steps_per_epoch=STEPS, num_epochs=EPOCHS, cosine_epochs=4)


def rates(optimizer: torch.optim.Optimizer, plan: Schedule, epochs: range, group: int = 0) -> list[float]:
    """The rate at the first step of each epoch, and after the last."""
    found = []
    for _ in epochs:
        found.append(optimizer.param_groups[group]["lr"])
        for _ in range(STEPS):
            optimizer.step()
            plan.after_step()
        plan.after_epoch()
    return found


def test_halving_keeps_the_peak_for_two_epochs():
    assert rates(*schedule("halving"), range(5)) == pytest.approx([0.4, 0.4, 0.2, 0.1, 0.05])


def test_cosine_falls_to_its_floor_in_the_epochs_asked_for():
    found = rates(*schedule("cosine"), range(5))
    assert found[0] == PEAK
    assert found[2] == pytest.approx((PEAK + 1e-8) / 2)
    assert found[4] == pytest.approx(1e-8)


def test_cosine_epochs_may_be_a_fraction_and_a_whole_number_is_the_same_run_however_it_is_written():
    assert cosine(5, half_period=2.5, floor=0.0) == pytest.approx(1.0)
    assert cosine(1, half_period=2.5, floor=0.0) == pytest.approx((1 + math.cos(math.pi / 2.5)) / 2)
    assert repr(TrainConfig(cosine_epochs=20.0).cosine_epochs) == "20"
    assert TrainConfig(cosine_epochs=2.5).cosine_epochs == 2.5
    for wrong in (0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="--cosine_epochs must be"):
            TrainConfig(cosine_epochs=wrong)


def test_constant_stays():
    assert rates(*schedule("constant"), range(4)) == [PEAK] * 4


def test_one_cycle_starts_at_a_25th_and_peaks_after_a_fifth_of_all_steps():
    optimizer, plan = schedule("one_cycle")
    found = []
    for _ in range(STEPS * EPOCHS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        plan.after_step()
    assert found[0] == pytest.approx(PEAK / 25)
    assert max(found) == pytest.approx(PEAK)
    assert abs(found.index(max(found)) - 0.2 * len(found)) <= 1


@pytest.mark.parametrize("name", ["halving", "cosine", "constant"])
def test_a_group_that_is_not_scheduled_keeps_its_rate(name):
    assert rates(*schedule(name, constant_group=True), range(4), group=1) == [0.01] * 4


def test_one_cycle_refuses_a_group_that_keeps_its_rate():
    with pytest.raises(ValueError, match="--lradj one_cycle"):
        schedule("one_cycle", constant_group=True)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_restored_schedule_goes_on_where_it_was(name):
    whole = rates(*schedule(name), range(EPOCHS))
    optimizer, plan = schedule(name)
    first = rates(optimizer, plan, range(3))
    groups, state = optimizer.state_dict()["param_groups"], json.loads(json.dumps(plan.state()))
    other, restored = schedule(name)
    other.load_state_dict({**other.state_dict(), "param_groups": json.loads(json.dumps(groups))})
    restored.restore(state)
    assert first + rates(other, restored, range(3, EPOCHS)) == whole


@pytest.mark.parametrize("other", [schedule("one_cycle"), schedule("halving", constant_group=True)])
def test_the_state_of_another_schedule_or_of_other_groups_is_refused(other):
    _, plan = schedule("halving")
    with pytest.raises(ValueError, match="the schedule's state is that of another"):
        plan.restore(other[1].state())


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


def test_a_group_may_have_a_cosine_floor_of_its_own():
    group = {"params": [torch.nn.Parameter(torch.ones(1))], "lr": 1e-4, "scheduled": True, "cosine_floor": 1e-6}
    optimizer = torch.optim.Adam([group])
    plan = Schedule("cosine", optimizer, steps_per_epoch=STEPS, num_epochs=EPOCHS, cosine_epochs=4)
    assert rates(optimizer, plan, range(5))[4] == pytest.approx(1e-6)


@pytest.mark.parametrize("value", ["x", None, True, float("nan"), ["x"], {}, 10**80, -1])
def test_a_state_with_values_of_another_kind_is_refused(value):
    for name in ("halving", "one_cycle"):
        (group,) = ({"params": [torch.zeros(1)], "lr": 0.1, "scheduled": True},)
        schedule = Schedule(name, torch.optim.Adam([group]), steps_per_epoch=2, num_epochs=2, cosine_epochs=2)
        with pytest.raises(ValueError, match="the schedule's state"):
            schedule.restore({**schedule.state(), "last_epoch": value})
        with pytest.raises(ValueError, match="the schedule's state"):
            schedule.restore({**schedule.state(), "base_lrs": value})
        schedule.restore(json.loads(json.dumps(schedule.state())))
