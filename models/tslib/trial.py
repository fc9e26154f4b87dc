"""Build a model of a checkout and try it once, so that settings it cannot work with end in one line before training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models.base import Forecaster, ForecastSpec
from models.tslib.settings import DEFAULTS, MissingSetting, TSLibSettings

NUM_ROWS = 2


def construct(model_type: type[nn.Module], settings: TSLibSettings, *, name: str) -> nn.Module:
    """`Model(settings)`. Raises ValueError with one line for whatever it raises."""
    try:
        return model_type(settings)
    except MissingSetting as error:
        raise _missing(error, name) from error
    except Exception as error:  # the library may raise anything on bad settings
        raise ValueError(
            f"--model tslib:{name} cannot be built from --tslib_args and sizes: {_reason(error)}"
        ) from error


def try_once(model: Forecaster, settings: TSLibSettings, spec: ForecastSpec, *, name: str) -> None:
    """Forecast two windows, without a trace in weights, modes or generators. Raises ValueError if that fails."""
    look_back = torch.linspace(-1, 1, NUM_ROWS * spec.seq_len * spec.num_channels, device=spec.device)
    inputs = {
        "look_back": look_back.reshape(NUM_ROWS, spec.seq_len, spec.num_channels),
        "time_features": torch.zeros(
            NUM_ROWS, spec.seq_len + spec.pred_len, spec.num_time_features, device=spec.device
        ),
    }
    model.to(spec.device).eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[spec.device] if spec.device.type == "cuda" else []):
            model(**inputs)
    except MissingSetting as error:
        raise _missing(error, name) from error
    except NotImplementedError as error:
        raise ValueError(
            f"--model tslib:{name} does not forecast with task_name=long_term_forecast ({_reason(error)}): choose "
            "another model"
        ) from error
    except Exception as error:  # the library may raise anything on bad settings
        raise ValueError(
            f"--model tslib:{name} fails on a window of {spec.seq_len} steps and {spec.num_channels} channels with "
            f"these settings ({_reason(error)}): {_way_out(name, settings, spec)}"
        ) from error
    model.train()


def checked_forecast(output: Any, *, num_rows: int, pred_len: int, num_channels: int | None) -> Tensor:
    """The forecast in what a model returned, any number of channels if `num_channels` is None; else ValueError."""
    values = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(values, Tensor):
        raise ValueError(f"it returns {type(values).__name__} instead of a forecast")
    found, expected = list(values.shape), [num_rows, pred_len, num_channels or 1]
    if len(found) != 3 or found[0] != num_rows or found[1] < pred_len or num_channels not in (None, found[2]):
        raise ValueError(f"it returns values of shape {found} instead of {expected}")
    return values[:, -pred_len:]


def _missing(error: MissingSetting, name: str) -> ValueError:
    return ValueError(f'--model tslib:{name} reads {error}, which has no default: add "{error}=..." to --tslib_args')


def _reason(error: Exception) -> str:
    text, kind = " ".join(str(error).split()), type(error).__name__
    if not text:
        return kind
    # The text of KeyError("x") is just 'x'.
    return f"{kind}: {text}" if isinstance(error, LookupError) else text


def _way_out(name: str, settings: TSLibSettings, spec: ForecastSpec) -> str:
    """The settings that this model is known to need and that are left at their defaults, or the general advice."""
    needed = {
        "MICN": {"label_len": spec.seq_len},
        "TimeMixer": {"down_sampling_layers": 1, "down_sampling_window": 2, "down_sampling_method": "avg"},
    }
    lacking = [
        f"{key}={value}"
        for key, value in needed.get(name, {}).items()
        if (key == "label_len" and settings.label_len != value) or getattr(settings, key) == DEFAULTS[key] != value
    ]
    return f'add "{" ".join(lacking)}" to --tslib_args' if lacking else "change --tslib_args"
