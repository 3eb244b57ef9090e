"""What `grad` and `jit` return: a callable that is compiled once per signature of its arguments."""

from __future__ import annotations

import copy
import gc
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from davinci_sim.errors import DavinciError
from framework.frontend.memo import calls_of
from framework.frontend.signature import NUMBERS, Unusual, are_leaves, arrangement, signature
from framework.frontend.templates import Known, Taker, known
from framework.frontend.trace import Traced, find_builder
from framework.frontend.values import is_number
from framework.host import compile_host
from framework.ir.builder import Builder
from framework.ir.nodes import Func
from framework.passes import run as run_passes
from framework.passes.compositions import compose
from framework.passes.save import save_stages
from framework.tensor import Parameter, Tensor
from framework.tree import flatten, hashable

Array = np.ndarray[Any, Any]
Executable = Callable[[Sequence[Array]], Sequence[Array]]

LARGEST = 2**63
"""Integers of run time are below it."""

_OWN = ("function", "_compiled", "_quick", "_keys", "_on_device")


@dataclass(frozen=True)
class Compiled:
    """A Func ready to run: the Parameters it reads, the structure of its results, its earlier stages.

    The last results are the new values of the Parameters that it assigns, `renewed`.
    """

    func: Func
    parameters: Sequence[Parameter]
    structure: Any
    stages: Sequence[tuple[str, Func]]
    execute: Executable
    renewed: Sequence[Parameter] = ()

    def __call__(self, leaves: Sequence[Any]) -> Any:
        """Run on the tensors and numbers among the arguments."""
        try:
            arrays = [
                np.asarray(leaf, dtype) if type(leaf) in NUMBERS else _array(leaf)
                for leaf, dtype in zip(leaves, self._dtypes, strict=False)
            ]
        except OverflowError:
            large = next(leaf for leaf in leaves if type(leaf) is int and not -LARGEST <= leaf < LARGEST)
            raise DavinciError(
                f"a number among the arguments is {large}\n  rule: integers of run time have 64 bits\n"
                "  next: pass a float, or bind it with functools.partial, which keeps it a constant"
            ) from None
        outputs = self.execute([*arrays, *(parameter.numpy() for parameter in self.parameters)])
        for parameter in reversed(self.renewed):
            *outputs, new = outputs
            parameter.set_data(new)
        return self._arrange([Tensor.wrap(np.asarray(each)) for each in outputs])

    @cached_property
    def _dtypes(self) -> list[np.dtype[Any]]:
        """Return the dtype that a number becomes, by parameter."""
        return [param.tensor.dtype.numpy for param in self.func.params]

    @cached_property
    def _arrange(self) -> Callable[[Sequence[Any]], Any]:
        return arrangement(self.structure)

    def texts(self) -> dict[str, str]:
        """Return the IR text of every stage, in order; a repeated stage gets a number."""
        found: dict[str, str] = {}
        for name, func in self.stages:
            same = sum(1 for key in found if key.split("#")[0] == name)
            found[name if same == 0 else f"{name}#{same + 1}"] = str(func)
        return found


def _array(leaf: Any) -> Array:
    return leaf.numpy() if isinstance(leaf, Tensor) else np.asarray(leaf)


class Optimized(NamedTuple):
    """A Func as it was traced, after all passes, and in between."""

    traced: Traced
    func: Func
    stages: Sequence[tuple[str, Func]]


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Let the search for garbage wait: most of what compiling makes stays, and would be searched often."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Transform(ABC):
    """A function of a function; subclasses say how the inner one is traced."""

    is_transparent = False
    """Whether a call in compiled code is a call of the function itself."""

    def __init__(self, function: Any) -> None:
        """Hold the function, nothing is compiled before the first call."""
        self.function = function
        self.save_ir: str | Path | None = None
        self._compiled: dict[Any, Compiled] = {}
        self._quick: dict[Any, Compiled] = {}
        self._keys: list[Any] = []  # keeps objects of keys alive: keys name them by identity

    @abstractmethod
    def trace(self, outer: Builder | None, args: Sequence[Any], kwargs: dict[str, Any]) -> Traced:
        """Return the Func for these arguments."""

    def prepare(self, args: Sequence[Any]) -> Sequence[Any]:
        """Return the arguments of a call as they are traced."""
        return args

    def executable(self, func: Func) -> Executable:
        """Return what runs an optimised Func: NumPy, unless a subclass knows better."""
        return compile_host(func)

    def key(self) -> Known:
        """Return what tells the transform, apart from its function, from others."""
        own = [(name, known(value)) for name, value in vars(self).items() if name not in _OWN]
        return Known((type(self), tuple(own)), self)

    def with_function(self, function: Any) -> Transform:
        """Return the same transform of another function."""
        found = copy.copy(self)
        found.function, found._compiled, found._quick, found._keys = function, {}, {}, []
        return found

    def emit_call(self, builder: Builder, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Emit a call of the traced Func into compiled code; equal calls share one."""
        taker, outer = Taker(True), Taker(True, keeps_parameters=True)
        key = (taker.take((tuple(args), dict(kwargs))), outer.take(self))
        leaves = [*taker.leaves, *outer.leaves]
        made = calls_of(builder).traced
        if key not in made:
            made[key] = self.trace(builder, args, kwargs)
        traced: Traced = made[key]
        if len(traced.leaves) != len(leaves):  # numbers have become tensors: they are in no key
            traced = self.trace(builder, args, kwargs)
            return traced.emit(builder)
        return traced.emit(builder, leaves)

    def compiled(self, *args: Any, **kwargs: Any) -> Compiled:
        """Return what a call with these arguments runs, compiled on the first call with their types."""
        args = tuple(self.prepare(args))
        leaves, structure = flatten((args, kwargs), numbers=True)
        types = tuple(
            type(leaf) if is_number(leaf) else str(Tensor.wrap(np.asarray(leaf)).type) for leaf in leaves
        )
        key = (hashable(structure), types)
        if key not in self._compiled:
            self._compiled[key] = self._compile(args, kwargs)
            self._keys.append(structure)
        return self._compiled[key]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run on tensors, or emit IR when called in compiled code."""
        leaves: list[Any] = []
        key: Any
        try:
            key = signature((args, kwargs) if kwargs else args, leaves)
        except Unusual:
            key = None
        if key is None:  # outside of the handler, as errors of the call are no consequence of this one
            return self._call_unusual(args, kwargs)
        found = self._quick.get(key)
        if found is not None:
            return found(leaves)
        compiled = self.compiled(*args, **kwargs)
        given = self._leaves(args, kwargs)
        if are_leaves(leaves, given):
            self._quick[key] = compiled
        return compiled(given)

    def _call_unusual(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        builder = find_builder((args, kwargs))
        if builder is not None:
            return self.emit_call(builder, args, kwargs)
        return self.compiled(*args, **kwargs)(self._leaves(args, kwargs))

    def _leaves(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        return flatten((tuple(self.prepare(args)), kwargs), numbers=True)[0]

    def optimized(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Optimized:
        """Return what a call with these arguments is compiled from: traced anew, and after all passes."""
        with _nothing_collected():
            traced = self.trace(None, args, kwargs)
            stages = [*traced.builder.stages, ("traced", traced.func)]
            composed = compose(traced.func)
            if composed is not traced.func:
                stages.append((compose.__name__, composed))
            func = run_passes(composed, watch=lambda name, each: stages.append((name, each)))
            return Optimized(traced, func, stages)

    def _compile(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Compiled:
        traced, func, stages = self.optimized(args, kwargs)
        if self.save_ir is not None:
            save_stages(self.save_ir, traced.func.name, len(self._compiled), stages)
        parameters = list(traced.builder.parameters.values())
        execute = self.executable(func)
        return Compiled(func, parameters, traced.structure, stages, execute, traced.renewed)
