"""`jit`: a function or a Cell compiled as a whole, for the host or for a simulated device."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from davinci_sim.errors import DavinciError
from framework.frontend.trace import Traced, apply, name_of, trace
from framework.frontend.transform import Executable, Transform
from framework.ir.builder import Builder
from framework.ir.nodes import Func
from framework.passes import FLAT, run


class Jitted(Transform):
    """A compiled function: one Func per signature of its arguments."""

    is_transparent = True

    def __init__(self, function: Any, device: Any = None, save_ir: str | Path | None = None) -> None:
        """Hold the function and the device; nothing is compiled before the first call."""
        super().__init__(function)
        self.save_ir = save_ir
        self.device = device
        self._on_device: Any = None

    @property
    def name(self) -> str:
        """Return the name of the function."""
        return name_of(self.function)

    @property
    def ir(self) -> dict[str, str]:
        """Return the text of the newest Func by stage: before and after gradients, after each pass."""
        if not self._compiled:
            raise DavinciError(
                f"{self.name} is not compiled yet; call it, or its compiled(...), with arguments first"
            )
        return list(self._compiled.values())[-1].texts()

    @property
    def tasks(self) -> Any:
        """Return the tasks that the device runs."""
        return self._device_part("tasks")

    def profile(self) -> Any:
        """Return the times of the newest run on the device."""
        return self._device_part("profile")()

    def trace(self, outer: Builder | None, args: Sequence[Any], kwargs: dict[str, Any]) -> Traced:
        """Return the Func of the function."""
        return trace(self.function, args, kwargs, outer=outer)

    def emit_call(self, builder: Builder, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call the function itself: compiled code compiles it along."""
        return apply(builder, self.function, args, kwargs)

    def executable(self, func: Func) -> Executable:
        """Return what runs the Func: NumPy, or the device."""
        if self.device is None:
            return super().executable(func)
        from framework.graph_engine import compile_for_device

        self._on_device = compile_for_device(run(func, FLAT), self.device)
        execute: Executable = self._on_device
        return execute

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind a jitted method to its object."""
        return self if instance is None else functools.partial(self, instance)

    def _device_part(self, name: str) -> Any:
        if self._on_device is None:
            raise DavinciError(
                f"{self.name} has no {name}: compile it with jit(f, device=...) and call it first"
            )
        return getattr(self._on_device, name)


def jit(function: Any, device: Any = None, save_ir: str | Path | None = None) -> Jitted:
    """Compile a function or Cell; with a device, onto that simulated chip.

    With `save_ir`, a folder, what it becomes is written there as text, a file per pass.

    >>> from framework import Tensor
    >>> jit(lambda x: x + x)(Tensor([1.0, 2.0]))
    Tensor([2., 4.], float32)
    """
    return Jitted(function, device, save_ir)
