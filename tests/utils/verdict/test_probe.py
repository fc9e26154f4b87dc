"""The linear probe on made states whose answer is known."""

import numpy as np
import pytest

from utils.verdict.probe import probe


def test_what_is_linear_in_the_states_is_read_back_and_what_is_not_in_them_is_not():
    generator = np.random.default_rng(0)
    states = generator.normal(size=(600, 8))
    linear, half = states @ generator.normal(size=8), states[:, 0] + generator.normal(size=600)
    values = np.stack([linear, half, generator.normal(size=600)], axis=1)
    found = probe(states[:400], values[:400], states[400:], values[400:])
    assert found[0] == pytest.approx(1.0, abs=1e-6)
    assert 0.35 < found[1] < 0.65
    assert abs(found[2]) < 0.1


def test_the_strength_is_chosen_without_the_held_out_rows():
    generator = np.random.default_rng(1)
    states, value = generator.normal(size=(60, 50)), generator.normal(size=(60, 1))
    found = probe(states, value, generator.normal(size=(200, 50)), generator.normal(size=(200, 1)))
    # Pure noise: a weak ridge would predict far worse than the mean.
    assert found[0] > -0.3


def test_a_value_that_is_constant_has_no_r2_and_leaves_the_others():
    generator = np.random.default_rng(2)
    states, held_out = generator.normal(size=(100, 4)), generator.normal(size=(50, 4))
    found = probe(
        states,
        np.stack([np.full(100, 24.0), states[:, 0]], axis=1),
        held_out,
        np.stack([np.full(50, 24.0), held_out[:, 0]], axis=1),
    )
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(1.0, abs=1e-3)
