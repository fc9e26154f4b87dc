"""The pretended device: tensors that say they are on a GPU, are computed on the CPU, and may not meet the CPU's.

It is registered with torch as the private device `pretend`. While `PretendedDevice` is entered, every operation that
reads or makes such a tensor is seen: what a CUDA GPU would refuse or wait for is recorded, the rest counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

from tests.pretend_device.registration import NAME, register
from tests.pretend_device.rules import (
    FREE,
    INDEXING,
    NOT_INDEXABLE,
    READS_THE_CPU,
    RETURNS_NO_TENSOR,
    WAITS_FOR_ITS_RESULT,
)  # fmt: skip

Kind = Literal["launch", "host wait", "mixed devices", "missing kernel"]
ROOT = Path(__file__).parents[2]
OUTSIDE = "outside"


class PretendedTensor(Tensor):
    """A tensor on the pretended device; `numbers` is the CPU tensor with its values."""

    numbers: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore

    @staticmethod
    def __new__(cls, numbers: Tensor) -> PretendedTensor:
        made = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=torch.device(NAME, 0),
        )
        made.numbers = numbers
        return made

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        """Its inner tensors, by which torch moves a parameter to the device in place."""
        return ["numbers"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> PretendedTensor:
        return PretendedTensor(inner["numbers"])

    def __repr__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"PretendedTensor({self.numbers!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Other threads (autograd, prefetching) do not see the mode, but this.
        assert PretendedDevice.entered is not None, "a tensor of the pretended device is used outside it"
        return PretendedDevice.entered.run(func, args, kwargs or {})

    def numpy(self, *, force: bool = False) -> Any:  # noqa: ARG002
        """Refused, as on a GPU."""
        raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy")

    def tolist(self) -> Any:
        """The values, for which the host waits."""
        return self.detach().cpu().tolist()


@dataclass(frozen=True)
class Event:
    """An operation: its `kind`, the part of the run it happened in, and the lines of ours that asked for it."""

    kind: Kind
    operation: str
    part: str
    where: str = ""
    detail: str = ""


class PretendedDevice(TorchDispatchMode):
    """Makes the pretended device usable in its `with` block, and records what happens on it in `events`."""

    entered: PretendedDevice | None = None

    def __init__(self) -> None:
        register()
        super().__init__()
        self.device = torch.device(NAME, 0)
        self.events: list[Event] = []
        self._part = OUTSIDE
        self._patches = ExitStack()

    def __enter__(self) -> Self:
        assert PretendedDevice.entered is None
        PretendedDevice.entered = self
        self._lifts_cpu_only = torch._C._only_lift_cpu_tensors()
        # So `torch.tensor(values, device=...)` makes a CPU tensor first and copies it where the mode sees it.
        torch._C._set_only_lift_cpu_tensors(True)
        asked = torch.is_autocast_enabled
        for owner, name, new in (
            (F, "scaled_dot_product_attention", _attention(F.scaled_dot_product_attention)),
            (Tensor, "pin_memory", lambda tensor, *_: tensor.clone()),
            # torch's encoder layer asks for CUDA's autocast.
            (torch, "is_autocast_enabled", lambda device_type=None: asked(device_type or NAME)),
        ):
            self._patches.enter_context(patch.object(owner, name, new))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        try:
            super().__exit__(*error)
        finally:
            self._patches.close()
            torch._C._set_only_lift_cpu_tensors(self._lifts_cpu_only)
            PretendedDevice.entered = None

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Record what happens in the `with` block as of the part `name`."""
        before, self._part = self._part, name
        try:
            yield
        finally:
            self._part = before

    def of(self, kind: Kind, part: str | None = None) -> list[Event]:
        """The events of a kind, in all parts or one."""
        return [event for event in self.events if event.kind == kind and part in (None, event.part)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation on the values of its tensors, and record it if it concerns the device."""
        tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        on_cpu = [tensor for tensor in tensors if not isinstance(tensor, PretendedTensor)]
        wanted = kwargs.get("device")
        makes_one = wanted is not None and torch.device(wanted).type == NAME
        if len(on_cpu) == len(tensors) and not makes_one:
            return func(*args, **kwargs)
        name = func._schema.name.split("::")[1]
        if name == "_to_copy":
            return self._copied(func, args[0], kwargs)
        if name == "copy_" and on_cpu:
            return self._copied_into(func, *args, **kwargs)
        if name == "_conj":
            # torch keeps a note to conjugate later, which operations do not read in here.
            return PretendedTensor(_numbers(args[0]).conj_physical())
        self._check(func, name, args, on_cpu)
        inner_args, inner_kwargs = tree_map(_numbers, (args, kwargs))
        if wanted is not None:
            inner_kwargs["device"] = torch.device("cpu")
        out = tree_map(_pretended, func(*inner_args, **inner_kwargs))
        if name in RETURNS_NO_TENSOR:
            return out
        self._count(func, out)
        return return_and_correct_aliasing(func, args, kwargs, out)

    def _copied(self, func: Any, source: Tensor, kwargs: dict[str, Any]) -> Tensor:
        """A copy in another type or on another device; a blocking one between devices is waited for."""
        wanted = kwargs.get("device")
        to_device = torch.device(wanted).type == NAME if wanted is not None else isinstance(source, PretendedTensor)
        more = {name: value for name, value in kwargs.items() if name not in ("device", "non_blocking")}
        numbers = _numbers(source)
        made = func(numbers, **more)
        made = made.clone() if made is numbers else made
        if not numbers.numel():
            return PretendedTensor(made) if to_device else made
        if not to_device:
            self._record("host wait", func, f"{numbers.numel()} values to the host")
            return made
        if isinstance(source, PretendedTensor):
            self._record("launch", func)
        elif not kwargs.get("non_blocking", False):
            self._record("host wait", func, f"{numbers.numel()} values to the device, blocking")
        return PretendedTensor(made)

    def _copied_into(self, func: Any, target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        if not non_blocking or not isinstance(target, PretendedTensor):
            self._record("host wait", func, "a copy between host and device")
        _numbers(target).copy_(_numbers(source))
        return target

    def _check(self, func: Any, name: str, args: tuple[Any, ...], on_cpu: list[Tensor]) -> None:
        """Record what CUDA refuses or waits for."""
        # CUDA takes a CPU tensor of one number as a number, and copies CPU indices to the device.
        sized = [tensor for tensor in on_cpu if tensor.ndim > 0]
        is_read = name in READS_THE_CPU and args and isinstance(args[0], PretendedTensor)
        if sized:
            shapes = ", ".join(f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}" for tensor in sized)
            self._record("host wait" if is_read else "mixed devices", func, f"CPU operands {shapes}")
        if name in INDEXING:
            if args[0].dtype in NOT_INDEXABLE:
                self._record("missing kernel", func, str(args[0].dtype))
            if any(isinstance(index, PretendedTensor) and index.dtype == torch.bool for index in args[1]):
                self._record("host wait", func, "a boolean mask: the number of hits")
        elif name in WAITS_FOR_ITS_RESULT:
            self._record("host wait", func, "its result")

    def _count(self, func: Any, out: Any) -> None:
        made = [value for value in tree_flatten(out)[0] if isinstance(value, Tensor)]
        if not getattr(func, "is_view", False) and str(func) not in FREE and any(tensor.numel() for tensor in made):
            self._record("launch", func)

    def _record(self, kind: Kind, func: Any, detail: str = "") -> None:
        where = "" if kind == "launch" else _where()
        self.events.append(Event(kind, str(func), self._part, where, detail))


def _numbers(value: Any) -> Any:
    return value.numbers if isinstance(value, PretendedTensor) else value


def _pretended(value: Any) -> Any:
    return PretendedTensor(value) if isinstance(value, Tensor) else value


def _where() -> str:
    """The two innermost lines of the library on the stack, the innermost first."""
    found: list[str] = []
    frame = sys._getframe(1)
    while frame is not None and len(found) < 2:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(ROOT) and "site-packages" not in file.parts and file.parent != Path(__file__).parent:
            found.append(f"{file.relative_to(ROOT)}:{frame.f_lineno}")
        frame = frame.f_back
    return " from ".join(found)


def _attention(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Attention as one fused launch, as CUDA has it (its dropout is left out: numbers differ, counts do not)."""

    def attention(
        query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> Tensor:  # fmt: skip
        if not isinstance(query, PretendedTensor) or query.ndim != 4 or enable_gqa:
            return original(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return fused(query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale)[0]

    return attention
