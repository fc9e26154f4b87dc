"""Types of HfArg and HfArgumentParser: transformers declares that HfArg returns a Field, which no `x: int` accepts."""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from typing import Any

def HfArg(
    *,
    help: str,
    default: Any = ...,
    default_factory: Callable[[], Any] = ...,
    aliases: str | list[str] | None = ...,
    metadata: dict[str, Any] | None = ...,
) -> Any: ...

class HfArgumentParser(ArgumentParser):
    def __init__(self, dataclass_types: Any = ..., **kwargs: Any) -> None: ...
    def parse_args_into_dataclasses(
        self,
        args: Sequence[str] | None = ...,
        *,
        return_remaining_strings: bool = ...,
        look_for_args_file: bool = ...,
    ) -> tuple[Any, ...]: ...
