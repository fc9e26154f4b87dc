"""Registration of the pretended device with torch, once a process, with autocast as CUDA does it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from tests.pretend_device.rules import FULL_PRECISION, LOW_PRECISION

NAME = "pretend"
# torch forgets a library that is no longer referred to.
_LIBRARIES: list[torch.library.Library] = []


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """The types that autocast may choose."""
        return [torch.bfloat16, torch.float16]

    def synchronize(self, device: Any = None) -> None:
        """Nothing to wait for."""


@functools.cache
def register() -> None:
    """Make `torch.device("pretend")` known; it stays known as long as the process lives."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    others, chosen = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    _LIBRARIES.extend([others, chosen])
    others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for names, dtype in ((LOW_PRECISION, None), (FULL_PRECISION, torch.float32)):
        for full_name in names:
            name, _, overload = full_name.partition(".")
            operation = getattr(getattr(torch.ops.aten, name), overload or "default")
            chosen.impl(full_name, _cast(operation, dtype), "AutocastPrivateUse1")


def _cast(operation: Callable[..., Any], dtype: torch.dtype | None) -> Callable[..., Any]:
    """`operation` on arguments in `dtype`, or in autocast's own if None."""

    def run(*args: Any, **kwargs: Any) -> Any:
        to = dtype or torch.get_autocast_dtype(NAME)

        def cast(value: Any) -> Any:
            casts = isinstance(value, Tensor) and value.device.type == NAME and value.is_floating_point()
            return value.to(to) if casts and value.dtype != torch.float64 else value

        autocast = getattr(torch._C.DispatchKey, "AutocastPrivateUse1")  # noqa: B009  (unknown to torch's types)
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(autocast)):
            return operation(*tree_map(cast, args), **tree_map(cast, kwargs))

    return run
