"""z-scores and the way back."""

import json

import numpy as np
from sklearn.preprocessing import StandardScaler

from data_provider.scaling import Standardizer

VALUES = np.random.default_rng(0).normal(5, 3, (50, 4)) * [1, 10, 0.01, 1000]


def test_it_scales_as_scikit_learn_does():
    expected = np.asarray(StandardScaler().fit(VALUES[:30]).transform(VALUES))
    np.testing.assert_allclose(Standardizer.fit(VALUES[:30]).transform(VALUES), expected, rtol=1e-12)


def test_the_memory_layout_of_the_table_does_not_change_a_digit():
    in_rows, in_columns = (Standardizer.fit(np.array(VALUES, order=order)) for order in ("C", "F"))
    assert (in_rows.mean == in_columns.mean).all()
    assert (in_rows.scale == in_columns.scale).all()


def test_the_way_back_restores_original_units():
    scaler = Standardizer.fit(VALUES)
    np.testing.assert_allclose(scaler.inverse(scaler.transform(VALUES)), VALUES, rtol=1e-12)


def test_a_constant_channel_becomes_zero_and_comes_back():
    values = np.stack([np.full(100, 0.1), np.arange(100.0)], axis=1)
    scaler = Standardizer.fit(values)
    assert scaler.scale[0] == 1
    assert (scaler.transform(values)[:, 0] == 0).all()
    assert (scaler.inverse(scaler.transform(values))[:, 0] == 0.1).all()


def test_json_keeps_every_digit():
    scaler = Standardizer.fit(VALUES)
    back = Standardizer.from_dict(json.loads(json.dumps(scaler.to_dict())))
    assert (back.mean == scaler.mean).all()
    assert (back.scale == scaler.scale).all()
