"""Tables in long format: each series a channel, forecasts in long format again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_provider import check
from data_provider.data_factory import load_series
from data_provider.tables.table import read_table
from exp.predict.forecaster import load_forecaster
from tests.data_provider.conftest import config_of
from tests.exp.small_runs import PRED_LEN, predict, table, train


def long_table() -> Any:
    """Two series, `a` and `b` of ten times its size, in Nixtla's columns and rows in any order."""
    long = table(channels=2).melt("date", var_name="unique_id", value_name="y").rename(columns={"date": "ds"})
    return long[["unique_id", "ds", "y"]].sample(frac=1, random_state=0)


def test_a_long_table_is_the_wide_one_with_a_scaler_for_each_series(tmp_path):
    long_table().sort_values("ds", kind="stable").to_csv(tmp_path / "long.csv", index=False)
    table(channels=2).to_csv(tmp_path / "wide.csv", index=False)
    long, wide = (load_series(config_of(tmp_path / name, columns="a,b")) for name in ("long.csv", "wide.csv"))
    assert long.columns == wide.columns == ["a", "b"]
    np.testing.assert_array_equal(long.values, wide.values)
    np.testing.assert_array_equal(long.scaler.scale, wide.scaler.scale)


def test_it_is_checked_trained_on_and_forecast_in_long_format(tmp_path):
    names = {"unique_id": "shop", "ds": "day", "y": "sales"}
    frame = long_table().rename(columns=names)
    path = tmp_path / "long.csv"
    frame.to_csv(path, index=False)
    flags = ["--series_column", "shop", "--value_column", "sales", "--date_column", "day"]
    assert check.main([str(path), *flags]) == 0
    fit = train(path, tmp_path / "results", *flags)
    assert predict(fit, path, tmp_path / "forecast.csv", "--interval", "0.8") == 0
    written = pd.read_csv(tmp_path / "forecast.csv", parse_dates=["day"])
    assert list(written) == ["shop", "day", "sales", "sales_lower", "sales_upper"]
    assert sorted(set(written["shop"])) == ["a", "b"] and len(written) == 2 * PRED_LEN
    assert written.loc[written["shop"] == "b", "sales"].between(15, 45).all()
    found = load_forecaster(fit).predict(frame, interval=0.8)
    pd.testing.assert_frame_equal(written, found, check_dtype=False, rtol=1e-7)


def test_a_date_that_a_series_has_twice_is_refused_in_one_line(tmp_path):
    frame = long_table()
    path = tmp_path / "long.csv"
    pd.concat([frame, frame.iloc[:1]]).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"long.csv: series . has the date .* twice"):
        read_table(path)


def test_a_repair_never_takes_a_long_table_for_a_wide_one(tmp_path, capsys):
    path = tmp_path / "long.csv"
    long_table().rename(columns={"unique_id": "shop"}).sort_values("ds").to_csv(path, index=False)
    assert check.main([str(path), "--fix", "interpolate"]) == 2
    assert "--series_column shop" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]
