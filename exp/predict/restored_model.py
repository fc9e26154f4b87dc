"""Restore a trained model from its checkpoint, and check that the LLM is that of training."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_provider.config import DataConfig
from data_provider.series import SeriesInfo
from exp.training.runtime import DTYPES, dtype_of
from exp.training.spec import forecast_spec
from models import model_class
from models.base import Forecaster
from utils.checkpoint import load_checkpoint, mismatched_checkpoint, unpack
from utils.files import DamagedFile
from utils.flags.parsing import recorded_flags
from utils.report.format_1 import upgrade_header
from utils.run_folder import READABLE_FORMATS, RunFolder
from utils.schemas.checking import checked
from utils.schemas.headers import ModelHeader
from utils.source import files_that_differ

logger = logging.getLogger(__name__)
# A linear layer from look-back to horizon with more weights would not fit into memory.
LARGEST_SIZE = 10**9

NAMES = ("name", "description")
# The folders whose code makes a forecast.
OF_A_FORECAST = ("models/", "layers/", "data_provider/")


def restore_model(
    path: Path, *, device: torch.device, elsewhere: Mapping[str, str | None]
) -> tuple[Forecaster, dict[str, Any]]:
    """The trained model in a checkpoint file, and the file's header.

    The frozen LLM is loaded by its name in training, or from where `elsewhere` (flag -> path) says. Code outside this
    library is only ever run from there. Raises ValueError if the LLM or code are not those of training, and
    FileNotFoundError if they are missing.
    """
    path = path.absolute()
    folder = RunFolder(path.parent.parent)
    is_in_a_run = path.parent == folder.checkpoints and (folder.config.is_file() or folder.is_finished)
    tensors, header = load_checkpoint(path, run_id=folder.recorded_run_id() if is_in_a_run else None)
    header = upgrade_header(header)
    if header.get("format") not in READABLE_FORMATS:
        raise ValueError(f"{path} is not a checkpoint that can be forecast with: name one of a finished training")
    checked(header, ModelHeader, path)
    if "," in str(header["data_config"].get("data")):
        raise ValueError(
            f"{path} was trained on several data sets ({header['data_config']['data']}), from which there is no "
            "prediction: train on one of them"
        )
    if header["precision"] not in DTYPES:
        raise ValueError(f"{path} was trained with --precision {header['precision']}, which this version does not know")
    weights = unpack("model", tensors)
    infinite = _not_finite(weights)
    changed = [name for name in files_that_differ(header.get("source")) if name.startswith(OF_A_FORECAST)]
    if changed:
        logger.warning("%s was trained with other code: %s changed since", path, ", ".join(changed))
    try:
        model = _build(header, path, elsewhere, device)
        # A buffer may hold infinities from the start, such as an attention mask.
        masks = _not_finite(model.saved_state())
        model.load_saved_state(weights)
    except (TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError, MemoryError) as error:
        # A model of flags and sizes that no training had.
        raise mismatched_checkpoint(path, error) from error
    broken = sorted(infinite - masks)
    if broken:
        raise DamagedFile(f"{path}: {broken[0]} holds numbers that are not finite: it is not used")
    return model, header


def _not_finite(tensors: Mapping[str, Tensor]) -> set[str]:
    return {name for name, value in tensors.items() if not bool(torch.isfinite(value).all())}


def checkpoint_file(run: Path) -> Path:
    """`run` if it is a file, otherwise the best checkpoint in that run folder. Raises FileNotFoundError."""
    if run.is_file():
        return run
    if not run.exists():
        raise FileNotFoundError(f"--checkpoint {run} is missing: name a run folder, or a checkpoint file in one")
    candidates = [RunFolder(run).best, run / RunFolder(run).best.name]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"--checkpoint {run} holds no {candidates[0].relative_to(run)}: name the folder of a run that was trained"
        )
    return found


def _build(header: dict[str, Any], path: Path, elsewhere: Mapping[str, str | None], device: torch.device) -> Forecaster:
    kind = model_class(header["model"])
    moved = {name: value for name, value in elsewhere.items() if value is not None}
    unread = sorted(set(moved) - {field.name for field in fields(kind.Config)})
    if unread:
        reads = "runs no other library" if unread[0] == "tslib_path" else "reads no LLM"
        raise ValueError(f"--{unread[0]} has no meaning here: {header['model']} {reads}")
    if kind.code_flag and kind.code_flag not in moved:
        raise ValueError(
            f"{path} was trained with {header['model']}, whose code lies outside this library, and a file cannot say "
            f"which code to run: give --{kind.code_flag}, the checkout that you trust and trained with"
        )
    data = recorded_flags(DataConfig, header["data_config"], source=path)
    if data.seq_len * data.pred_len > LARGEST_SIZE:
        raise DamagedFile(f"{path}: a look-back of {data.seq_len} and a horizon of {data.pred_len} are no training's")
    series, dtype = SeriesInfo.from_record(header["series"]), dtype_of(header["precision"], on_cpu=device.type == "cpu")
    spec = forecast_spec(
        series, seq_len=data.seq_len, pred_len=data.pred_len, dtype=dtype, device=device, quantiles=data.quantile_levels
    )
    with torch.random.fork_rng(devices=[]):
        # Random frozen weights are not in the checkpoint: draw them again from the seed of training.
        torch.manual_seed(header["train_config"]["seed"])
        config = recorded_flags(kind.Config, {**header["model_config"], **moved}, source=path)
        model = kind.restore(config, spec, code=header.get("code_hashes", {}))
    found, trained = (
        _without_names(fingerprint) for fingerprint in (model.fingerprint(), header["backbone_fingerprint"])
    )
    if found != trained and kind.code_flag:
        raise ValueError(
            f"{path} was trained with other code than {header['model']} is now ({_difference(trained, found)}): name "
            f"the checkout of the training with --{kind.code_flag}, or train again"
        )
    if found != trained:
        raise ValueError(
            f"{path} was trained with another LLM than the one found now ({_difference(trained, found)}): point "
            "--llm_model and --llm_tokenizer at the one of the training"
        )
    return model


def _without_names(fingerprint: Any) -> Any:
    """A fingerprint as JSON values without names and descriptions of its parts, which follow from paths."""
    if isinstance(fingerprint, dict):
        return {key: _without_names(value) for key, value in fingerprint.items() if key not in NAMES}
    return json.loads(json.dumps(fingerprint))


def _difference(trained: dict[str, Any], found: dict[str, Any], prefix: str = "") -> str:
    for key in sorted(set(trained) | set(found)):
        before, now = trained.get(key), found.get(key)
        if isinstance(before, dict) and isinstance(now, dict) and before != now:
            return _difference(before, now, f"{prefix}{key} ")
        if before != now:
            return f"{prefix}{key} {str(now)[:12]} instead of {str(before)[:12]}"
    return "nothing"
