"""The probe's rows: a channel of each window, and none that training has read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from data_provider.config import DataConfig
from exp.probe import main, probe_rows, statistics

SEQ_LEN, PRED_LEN = 512, 96
NAMES = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")


@pytest.fixture
def data(tmp_path) -> DataConfig:
    """A table whose values say their time, with one channel that falls, in the place of ETTh1."""
    time = np.arange(17_420, dtype=np.float64)
    table = {"date": pd.date_range("2016-07-01", periods=len(time), freq="h")}
    table |= {name: -time if name == "MULL" else time for name in NAMES}
    (tmp_path / "ETT-small").mkdir()
    pd.DataFrame(table).to_csv(tmp_path / "ETT-small" / "ETTh1.csv", index=False)
    return DataConfig(data="ETTh1", root_path=str(tmp_path), seq_len=SEQ_LEN, pred_len=PRED_LEN)


def test_window_i_gives_channel_i_mod_7_and_validation_shares_no_time_with_training(data):
    border = 8640
    # Values are scaled by the training rows' mean and deviation.
    deviation = ((border**2 - 1) / 12) ** 0.5
    for split in ("train", "validation"):
        rows = probe_rows(data, split).double()
        # The validation windows begin a look-back before the border; the first look-back of them is left out.
        number = torch.arange(len(rows)) + (0 if split == "train" else SEQ_LEN)
        falls = number % len(NAMES) == NAMES.index("MULL")
        times = torch.where(falls, -1, 1)[:, None] * rows * deviation + (border - 1) / 2
        first = 0 if split == "train" else border - SEQ_LEN
        torch.testing.assert_close(times[:, 0], (first + number).double(), rtol=0, atol=0.5)
        assert rows.shape[1] == SEQ_LEN
        assert float(times[-1, -1]) + PRED_LEN == pytest.approx(border + (0 if split == "train" else 2880) - 1, abs=1)


def test_the_statistics_are_those_of_the_prompt_in_its_order():
    rows = torch.tensor(np.sin(np.arange(64) / 3) + 0.01 * np.arange(64))[None].float()
    found, scaled = statistics(rows), (rows - rows.mean()) / rows.std(correction=0)
    assert found.shape == (1, 9)
    assert found[0, :2] == pytest.approx([float(scaled.min()), float(scaled.max())], rel=1e-3)
    assert found[0, 3] == 1
    assert (found[0, 4:] >= 1).all()


@pytest.mark.parametrize(
    ("flags", "said"), [(["--root_path", "nowhere"], "nowhere"), (["--every", "0"], "must be at least 1, got 0")]
)
def test_wrong_input_is_one_line(flags, said, capsys):
    try:
        code = main(flags)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert said in capsys.readouterr().err
