"""Adapter for the models of Time-Series-Library, imported from a local checkout."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from jaxtyping import Float
from torch import Tensor, nn
from transformers.hf_argparser import HfArg

from models.base import Forecast, Forecaster, ForecastSpec
from models.tslib.code import check_code, code_hashes
from models.tslib.imports import import_model_file
from models.tslib.settings import TSLibSettings, parse_settings, settings_of_task
from models.tslib.trial import checked_forecast, construct, try_once


@dataclass(frozen=True)
class TSLibConfig:
    """Path of Time-Series-Library and settings of its model."""

    tslib_path: str = HfArg(default="", help="path of a Time-Series-Library checkout (required)")
    tslib_args: str = HfArg(
        default="",
        help='settings of the model under that library\'s names, such as "d_model=64 e_layers=2"; others keep its '
        "defaults, and lengths and channels come from our flags and the data",
    )


class TSLib(Forecaster):
    """A model of Time-Series-Library (github.com/thuml/Time-Series-Library), fed all channels of a window together.

    Its `Model(configs)` is called as `forward(x_enc, x_mark_enc, x_dec, x_mark_dec)`: the decoder input is the last
    `label_len` steps of the look-back followed by zeros, the marks are calendar features. As in that library, a model
    with `features=MS` gets the target as its last channel and its last output is the forecast. All models are assumed
    to have weights that depend on the number of channels. `tslib_model_class` makes the subclass for one model.
    """

    Config = TSLibConfig
    needs_time_features = True
    needs_fixed_channels = True
    code_flag = "tslib_path"
    tslib_name: ClassVar[str]

    def __init__(
        self,
        model: nn.Module,
        spec: ForecastSpec,
        *,
        label_len: int,
        fingerprint: dict[str, Any],
        code: Mapping[str, str],
    ) -> None:
        super().__init__()
        self.model = model
        self.pred_len, self.label_len = spec.pred_len, label_len
        self.target = spec.target_channel
        self._fingerprint, self._code = fingerprint, dict(code)

    @classmethod
    def build(cls, config: TSLibConfig, spec: ForecastSpec) -> Self:
        """Import and build the model; ValueError or FileNotFoundError with a one-line message if that fails."""
        return cls._build(config, spec, allowed=None)

    @classmethod
    def restore(cls, config: TSLibConfig, spec: ForecastSpec, *, code: Mapping[str, str]) -> Self:
        """Build the model from files with exactly these hashes; any other is refused, with ValueError, before it runs.

        A checkpoint that recorded none (an old one) is built like a new model: the user has named the checkout.
        """
        check_code(Path(config.tslib_path), code, name=cls.tslib_name)
        return cls._build(config, spec, allowed=code or None)

    @classmethod
    def _build(cls, config: TSLibConfig, spec: ForecastSpec, *, allowed: Mapping[str, str] | None) -> Self:
        if not config.tslib_path:
            raise ValueError(f"--model tslib:{cls.tslib_name} needs --tslib_path, a checkout of Time-Series-Library")
        given = parse_settings(config.tslib_args)
        settings = settings_of_task(spec, given)
        module = import_model_file(Path(config.tslib_path), cls.tslib_name, allowed=allowed)
        model_type = getattr(module, "Model", None)
        if not (isinstance(model_type, type) and issubclass(model_type, nn.Module)):
            raise ValueError(f"--model tslib:{cls.tslib_name}: {module.__file__} defines no torch module called Model")
        fingerprint = {"tslib_model": cls.tslib_name, "sha256": _sha256(module.__file__)}
        if spec.target_channel is not None:
            # Runs from before there was this entry gave the target no place of its own.
            fingerprint["features"] = settings.features
        model = construct(model_type, settings, name=cls.tslib_name)
        code = code_hashes(Path(config.tslib_path), cls.tslib_name)
        forecaster = cls(model, spec, label_len=settings.label_len, fingerprint=fingerprint, code=code)
        never_read = [] if _keeps_settings(model) else settings.never_read(set(given) - {"label_len"})
        if never_read:
            raise ValueError(f"--tslib_args {' '.join(never_read)}: tslib:{cls.tslib_name} never reads it; remove it")
        try_once(forecaster, settings, spec, name=cls.tslib_name)
        return forecaster

    def forward(
        self,
        look_back: Float[Tensor, "row seq_len channel"],
        time_features: Float[Tensor, "row time feature"],
    ) -> Forecast:
        num_rows, seq_len, num_channels = look_back.shape
        if self.target is not None:
            others = [channel for channel in range(num_channels) if channel != self.target]
            look_back = look_back[..., [*others, self.target]]
        decoder_input = nn.functional.pad(look_back[:, seq_len - self.label_len :], (0, 0, 0, self.pred_len))
        output = self.model(
            look_back, time_features[:, :seq_len], decoder_input, time_features[:, seq_len - self.label_len :]
        )
        expected = num_channels if self.target is None else None
        values = checked_forecast(output, num_rows=num_rows, pred_len=self.pred_len, num_channels=expected).float()
        # Of several channels only the target is ever looked at.
        return Forecast(values if self.target is None else values[..., -1:].expand(-1, -1, num_channels))

    def fingerprint(self) -> dict[str, Any]:
        return self._fingerprint

    def code_hashes(self) -> dict[str, str]:
        return dict(self._code)


def tslib_model_class(name: str) -> type[TSLib]:
    """Class for `--model tslib:NAME`; that the model exists is checked when it is built."""
    if not name.isidentifier():
        raise ValueError(f"--model tslib:{name} must name a file of models/ in Time-Series-Library: tslib:TimesNet")
    return type(f"TSLib_{name}", (TSLib,), {"tslib_name": name, "__doc__": f"Time-Series-Library's {name}."})


def _keeps_settings(model: nn.Module) -> bool:
    """Whether a module keeps a reference to the settings, and so may read them later."""
    return any(isinstance(value, TSLibSettings) for module in model.modules() for value in vars(module).values())


def _sha256(file: str | None) -> str:
    assert file, "a module that was imported from a file has one"
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
