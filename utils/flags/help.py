"""The text of `python run.py --help`: flags by concern, each once, without importing torch."""

from __future__ import annotations

import dataclasses
import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from exp import TASKS
from models import MODELS, TSLIB_PREFIX
from utils.flags.declarations import config_of, declared

WIDEST = 110
INDENT = 26
SHARED = ("data_provider.config:DataConfig", "exp.config:TrainConfig", "exp.config:TrackConfig")
NOT_TRAINING = ("place", "label", "note", "numerics")


def wants_help(arguments: Sequence[str]) -> bool:
    """Whether the command asks for help."""
    return any(word in ("--help", "-h") for word in arguments)


def help_text(arguments: Sequence[str]) -> str:
    """The help for the task and model that `arguments` name. Raises LookupError if that needs the model's code."""
    task = _value(arguments, "task_name", "long_term_forecast")
    model = _value(arguments, "model", "BALM")
    if task not in TASKS or model.startswith(TSLIB_PREFIX) or model not in MODELS:
        raise LookupError(f"{task}, {model}")
    task_fields = [field for config in config_of(*_place(TASKS[task]), "task_configs") for field in _fields(config)]
    if task == "predict":
        return _page("Forecast with the checkpoint of a finished run.", {"Forecast": task_fields})
    data, train, track = (_fields(declared(*_place(name))) for name in SHARED)
    of_model = _fields(config_of(*_place(MODELS[model]), "Config"))
    own = {field.name for field in of_model}
    train = [field for field in train if field.name not in own]
    chosen = {
        "--task_name": f"one of {', '.join(TASKS)} (default: {task})",
        "--model": f"one of {', '.join(MODELS)}, or {TSLIB_PREFIX}NAME (default: {model})",
    }
    switches = [field for field in of_model if "publish" in field.metadata.get("help", "")]
    llm = [field for field in of_model if field.name.startswith("llm_") and field not in switches]
    rest = [field for field in of_model if field not in switches and field not in llm]
    sections = {
        "Data": data,
        f"Model {model}": rest,
        "Language model": llm,
        "Switches of the published code": switches,
        task.replace("_", " ").capitalize(): task_fields,
        "Training": [field for field in train if field.metadata.get("role") not in NOT_TRAINING],
        "Run, seeds and machine": [field for field in train if field.metadata.get("role") in NOT_TRAINING],
        "Tracking": track,
    }
    lead = (
        "Train a forecaster, test it once, and leave a complete run folder. These are the flags of "
        f"--model {model} --task_name {task}; name another model or task before --help to see its own."
    )
    return _page(lead, sections, chosen)


def _value(arguments: Sequence[str], name: str, default: str) -> str:
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    flags = [word[2:].replace("-", "_") if word.startswith("--") else "" for word in words]
    return words[flags.index(name) + 1] if name in flags[:-1] else default


def _place(entry: str) -> tuple[str, str]:
    """Module and class of an entry of a registry."""
    module, _, name = entry.partition(":")
    return module, name


def _fields(config: Any) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(config) if field.init]


def _page(lead: str, sections: dict[str, list[Any]], chosen: dict[str, str] | None = None) -> str:
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    lines = [*textwrap.wrap(lead, width), ""]
    for flag, text in (chosen or {}).items():
        lines += _entry(flag, text, width)
    for title, found in sections.items():
        if found:
            lines += ["", title]
            for field in found:
                lines += _entry(*_flag_and_text(field), width)
    return "\n".join(lines)


def _flag_and_text(field: dataclasses.Field[Any]) -> tuple[str, str]:
    kind, text = str(field.type), field.metadata.get("help", "")
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    flag = f"--{field.name}"
    if kind == "bool":
        return (f"--no_{field.name}", f"not: {text}") if default is True else (flag, text)
    choices = re.findall(r"[\"']([^\"']*)[\"']", kind) if "Literal" in kind else []
    said = f"{' | '.join(choices)}: {text}" if choices else text
    if "default" in text or default in (None, "", []) or default is dataclasses.MISSING:
        return flag, said
    shown = " ".join(map(str, default)) if isinstance(default, list) else default
    return flag, f"{said} (default: {shown})"


def _entry(flag: str, text: str, width: int) -> list[str]:
    head = f"  {flag}"
    lines = textwrap.wrap(" ".join(text.split()), width - INDENT, break_on_hyphens=False)
    if len(head) > INDENT - 2:
        return [head, *(" " * INDENT + line for line in lines)]
    return [head.ljust(INDENT) + (lines[0] if lines else ""), *(" " * INDENT + line for line in lines[1:])]
