"""One small run whose checkpoint the tests of this folder forecast with."""

from pathlib import Path

import pytest

from exp.predict.forecaster import FittedForecaster, load_forecaster
from tests.exp.small_runs import table, train


@pytest.fixture(scope="package")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    table().to_csv(folder / "my.csv", index=False)
    return folder


@pytest.fixture(scope="package")
def fit(place) -> Path:
    return train(place / "my.csv", place / "results")


@pytest.fixture(scope="package")
def forecaster(fit) -> FittedForecaster:
    return load_forecaster(fit)
