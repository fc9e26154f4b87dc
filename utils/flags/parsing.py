"""Parse flags into frozen dataclasses with HfArgumentParser; one error names everything that is wrong."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from math import isfinite
from typing import Any, NoReturn, get_type_hints

from transformers.hf_argparser import HfArgumentParser

from utils.schemas.checking import MAX_SHOWN, checked

# What the metadata of a field may say besides the options of argparse: see `flag_roles`, `later_flags_at_default` and
# utils/flags/help.py.
OUR_METADATA = ("role",)


class FlagParser(HfArgumentParser):
    """HfArgumentParser whose fields may also carry a role (see `flag_roles`), and whose errors are ValueErrors."""

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        return super().add_argument(*names, **{key: value for key, value in options.items() if key not in OUR_METADATA})

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see --help)")


def parse_flags(
    config_types: Sequence[type], arguments: Sequence[str], *, belongs_to: Mapping[str, str], **parser_options: Any
) -> tuple[Any, ...]:
    """One instance of each of `config_types`, filled from `arguments`.

    `belongs_to` maps a flag of another model or task to its name. Raises one ValueError for all unknown flags;
    `--help` prints and exits as in argparse.
    """
    declared = [(field, field.type) for config_type in config_types for field in fields(config_type)]
    types: list[Any] = list(config_types)
    parser = FlagParser(types, allow_abbrev=False, exit_on_error=False, **parser_options)
    for field, kind in declared:
        # Undo what the parser does to the shared Field objects: it replaces `str | None` by `str`.
        field.type = kind
    try:
        *configs, unknown = parser.parse_args_into_dataclasses(
            list(arguments), return_remaining_strings=True, look_for_args_file=False
        )
    except argparse.ArgumentError as error:
        raise ValueError(f"{error}{_usual_value(error)} (see --help)") from error
    except (TypeError, OverflowError) as error:  # words that argparse hands on as they are, such as `--seed=--`
        raise ValueError(f"a flag has a value of another type ({error}): see --help") from error
    for field, value in ((field, getattr(config, field.name)) for config in configs for field in fields(config)):
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"--{field.name} must be a finite number, got {value}")
    if unknown:
        raise ValueError(_refusal(unknown, known=flag_names(config_types), belongs_to=belongs_to))
    return tuple(configs)


def recorded_flags(config_type: type, values: Mapping[str, Any], *, source: object) -> Any:
    """An instance of `config_type` from the flags that a file, called `source`, recorded.

    Raises DamagedFile for a value of another type, ValueError for one that is not allowed or an unknown flag.
    """
    hints = get_type_hints(config_type)
    unknown = sorted(set(values) - flag_names([config_type]))
    if unknown:
        raise ValueError(f"{source} was written with --{unknown[0][:MAX_SHOWN]}, which this version does not know")
    for name, value in values.items():
        checked(value, hints[name], f"{source}: --{name}")
    return config_type(**values)


def without_flags(config_type: type, names: set[str]) -> type:
    """`config_type` without the flags `names`, which stay at their default: a model's own flag comes first."""
    double = [found for found in fields(config_type) if found.init and found.name in names]
    if not double:
        return config_type
    types = get_type_hints(config_type)
    kept = [(found.name, types[found.name], dataclasses.field(default=found.default, init=False)) for found in double]
    return dataclasses.make_dataclass(config_type.__name__, kept, bases=(config_type,), frozen=True)


def flag_names(config_types: Sequence[type]) -> set[str]:
    """The flags of `config_types`, without dashes."""
    return {field.name for config_type in config_types for field in fields(config_type) if field.init}


def flag_roles(config_types: Iterable[type]) -> dict[str, str]:
    """Flag -> role, for the flags of `config_types` that have one: `HfArg(..., metadata={"role": "place"})`.

    "place" flags only affect where or how fast a run computes, and "note" flags only describe it: neither is part of
    the run id. "reading" flags say how a file is read, and are not part of the run id where they are None. The others
    are: "label" flags name a run, "numerics" flags may change the last digits of its results, and "cell" flags have
    their own column in every table. When runs are compared, only flags without a role make variants of a model.
    """
    declared = [field for config_type in config_types for field in fields(config_type)]
    return {field.name: field.metadata["role"] for field in declared if "role" in field.metadata}


def place_flags(roles: Mapping[str, str]) -> set[str]:
    """The flags that are not part of the run id, since they do not change a run's result."""
    return {name for name, role in roles.items() if role in ("place", "note")}


def later_flags_at_default(configs: Iterable[Any]) -> set[str]:
    """The flags that a config's `flags_added_later` names and that are at their default.

    Such a flag was added after runs had been made without it: at its default it is not part of the run id.
    """
    declared = [(config, field) for config in configs for field in fields(config)]
    return {
        field.name
        for config, field in declared
        if field.name in getattr(config, "flags_added_later", ()) and getattr(config, field.name) == field.default
    }


def _refusal(unknown: Sequence[str], *, known: set[str], belongs_to: Mapping[str, str]) -> str:
    names = dict.fromkeys(word.split("=")[0] for word in unknown if word.startswith("--"))
    if not names:
        return f"unexpected words among the flags: {' '.join(unknown)} (each value follows its flag)"
    reasons = [_reason(name, known, belongs_to) for name in names]
    # What is only called otherwise here should not be deleted.
    advice = "see --help" if all("is called" in reason for reason in reasons) else "delete them, or see --help"
    return f"{'; '.join(reasons)} ({advice})"


def _usual_value(error: argparse.ArgumentError) -> str:
    """The value here that a refused one of another library or spelling stands for; empty if there is none."""
    from utils.flags.foreign import USUAL_VALUES

    flag = (error.argument_name or "").partition("/")[0].removeprefix("--")
    found = re.search(r"invalid choice: '?([^' ]+)'? \(choose from (.*)\)", str(error))
    if found is None:
        return ""
    value, choices = found[1], re.findall(r"[\w.]+", found[2])
    same = [choice for choice in choices if choice.lower() == value.lower()]
    here = same[0] if same else USUAL_VALUES.get((flag, value.lower().partition(":")[0]))
    return f"; here it is --{flag} {here}" if here else ""


def _reason(flag: str, known: set[str], belongs_to: Mapping[str, str]) -> str:
    name = flag.lstrip("-").replace("-", "_")
    if name in belongs_to:
        return f"{flag} belongs to {belongs_to[name]}"
    from utils.flags.foreign import FOREIGN_FLAGS, USUAL_NAMES  # needed only for errors

    if USUAL_NAMES.get(name) in known:
        return f"{flag} is called --{USUAL_NAMES[name]} here"
    if name in FOREIGN_FLAGS:
        instead = FOREIGN_FLAGS[name]
        return f"{flag} (Time-Series-Library) means nothing here" + (f": {instead}" if instead else "")
    nearest = difflib.get_close_matches(name, known, n=2)
    return f"{flag} is not a flag" + (f", did you mean {' or '.join('--' + n for n in nearest)}?" if nearest else "")
