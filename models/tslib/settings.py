"""Settings of a Time-Series-Library model: its defaults, the task's, and those of `--tslib_args`."""

from __future__ import annotations

import ast
import shlex
from typing import Any

import pandas as pd

from models.base import ForecastSpec

# Defaults of Time-Series-Library's command line for the settings that its forecasting models read.
DEFAULTS: dict[str, Any] = {
    "label_len": 48,
    "d_model": 512,
    "n_heads": 8,
    "e_layers": 2,
    "d_layers": 1,
    "d_ff": 2048,
    "moving_avg": 25,
    "factor": 1,
    "distil": True,
    "dropout": 0.1,
    "embed": "timeF",
    "activation": "gelu",
    "output_attention": False,
    "top_k": 5,
    "num_kernels": 6,
    "expand": 2,
    "d_conv": 4,
    "channel_independence": 1,
    "decomp_method": "moving_avg",
    "use_norm": 1,
    "down_sampling_layers": 0,
    "down_sampling_window": 1,
    "down_sampling_method": None,
    "seg_len": 96,
    "patch_len": 16,
    "p_hidden_dims": [128, 128],
    "p_hidden_layers": 2,
    "individual": False,
    "alpha": 0.1,
    "top_p": 0.5,
    "pos": 1,
    "gcn_depth": 2,
    "gcn_dropout": 0.3,
    "propalpha": 0.3,
    "conv_channel": 32,
    "skip_channel": 32,
    "node_dim": 10,
    "num_class": 1,
    "seasonal_patterns": "Monthly",
    "inverse": False,
    "batch_size": 32,
    "use_amp": False,
}


class MissingSetting(AttributeError):
    """A model read a setting that has no value."""


class TSLibSettings:
    """Settings as attributes; records which ones are read."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:
            raise MissingSetting(name)
        self._read.add(name)
        return self._values[name]

    def never_read(self, names: set[str]) -> list[str]:
        """Those of `names` that have not been read so far."""
        return sorted(names - self._read)


def settings_of_task(spec: ForecastSpec, given: dict[str, Any]) -> TSLibSettings:
    """Settings for a task: the library's defaults, overridden by `given`, and what the task fixes."""
    task = {
        "task_name": "long_term_forecast",
        "is_training": 1,
        "features": "M" if spec.target_channel is None else "MS",
        "freq": frequency_letter(spec.time_step),
        "seq_len": spec.seq_len,
        "pred_len": spec.pred_len,
        "enc_in": spec.num_channels,
        "dec_in": spec.num_channels,
        "c_out": spec.num_channels,
        "device": spec.device,
        "use_gpu": spec.device.type == "cuda",
    }
    fixed = sorted(task.keys() & given.keys())
    if fixed:
        raise ValueError(f"--tslib_args must leave {', '.join(fixed)} out: the data and our own flags say that")
    label_len = given.get("label_len", min(DEFAULTS["label_len"], spec.seq_len))
    if not isinstance(label_len, int) or not 0 <= label_len <= spec.seq_len:
        raise ValueError(f"--tslib_args label_len must be in 0..--seq_len ({spec.seq_len}), got {label_len}")
    return TSLibSettings({**DEFAULTS, "data": spec.data, "label_len": label_len, **given, **task})


def parse_settings(words: str) -> dict[str, Any]:
    """Parse `"d_model=64 distil=False embed=timeF"`; values are Python literals if possible, otherwise strings."""
    settings: dict[str, Any] = {}
    for word in shlex.split(words):
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier() or name.startswith("_"):
            raise ValueError(f'--tslib_args must be pairs such as "d_model=64 e_layers=2", got {word!r}')
        if name in settings:
            raise ValueError(f"--tslib_args gives {name} twice")
        try:
            settings[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name] = value
    return settings


def frequency_letter(time_step: str) -> str:
    """Time-Series-Library's letter for a time step; sets the number of calendar features its embeddings expect."""
    offset = pd.tseries.frequencies.to_offset(time_step)
    try:
        step = pd.Timedelta(offset)
    except ValueError:
        return "w" if offset.rule_code.startswith("W") else "b" if offset.rule_code.startswith(("B", "C")) else "m"
    for letter, shortest in (("w", "7D"), ("d", "1D"), ("h", "1h"), ("t", "1min")):
        if step >= pd.Timedelta(shortest):
            return letter
    return "s"
