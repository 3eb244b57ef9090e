"""What an operator is: one value that holds every rule about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError, InternalError
from framework.dtypes import DType, float32, promote
from framework.ir.builder import Sym, innermost
from framework.ir.nodes import Attr, Attrs
from framework.ir.registry import OPERATORS
from framework.ir.types import TensorType
from framework.ops.lowering import Lowering
from framework.tensor import Tensor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class NoGradient:
    """Says why no cotangent flows through an operator: its outputs do not move with its inputs."""

    reason: str


@dataclass(frozen=True)
class Call:
    """One application of an operator, as its gradient rule sees it: symbolic values and attributes."""

    inputs: tuple[Sym, ...]
    outputs: tuple[Sym, ...]
    attrs: dict[str, Any]


@dataclass(frozen=True)
class Arg:
    """An input of a sample: floats between low and high, all distinct, or integers below high."""

    shape: tuple[int, ...]
    dtype: str = "float64"
    low: float = -2.0
    high: float = 2.0

    def draw(self, generator: np.random.Generator, offset: float = 0.0) -> Array:
        """Return an array; the offset keeps the values of two inputs apart."""
        if self.dtype.startswith(("int", "bool")):
            return generator.integers(0, int(self.high), self.shape).astype(self.dtype)
        size = int(np.prod(self.shape))
        steps = (np.arange(size) + 0.37 + offset) / max(size, 1)
        return generator.permutation(self.low + (self.high - self.low) * steps).reshape(self.shape)


@dataclass(frozen=True)
class Sample:
    """Inputs and attributes that an operator is tested with."""

    args: tuple[Arg, ...]
    attrs: dict[str, Any] = field(default_factory=dict)

    def draw(self, generator: np.random.Generator) -> list[Array]:
        """Return one array per input."""
        return [arg.draw(generator, 0.11 * position) for position, arg in enumerate(self.args)]


def sample(*shapes: tuple[int, ...] | Arg, **attrs: Any) -> Sample:
    """Return a Sample from shapes or Args and attributes."""
    return Sample(tuple(each if isinstance(each, Arg) else Arg(each) for each in shapes), attrs)


Rule = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class Op:
    """An operator: `op(x, y, attr=...)` computes on Tensors and emits IR on symbolic values.

    The signature of `infer` is the operator's: inputs stand before the slash, attributes after it.
    `normalize` turns attributes into their one spelling; `promotes` lets inputs of different dtypes meet in
    the wider one. `vjp(call, *cotangents)` returns one cotangent, or None, per input; it may be wider.
    `axes` names the axes of inputs and outputs: equal letters are split alike, `...` broadcast, `*` is any.
    """

    name: str
    axes: str
    infer: Callable[..., TensorType | tuple[TensorType, ...]]
    evaluate: Callable[..., Array | tuple[Array, ...]]
    vjp: Rule | NoGradient
    lowering: Lowering | None = None
    samples: tuple[Sample, ...] = ()
    normalize: Callable[[tuple[TensorType, ...], dict[str, Any]], dict[str, Any]] | None = None
    promotes: bool = False

    def __post_init__(self) -> None:
        """Refuse an operator without its rules, and enter it into the table."""
        for rule in ("infer", "evaluate"):
            if not callable(getattr(self, rule)):
                raise InternalError(f"operator {self.name!r} has no {rule} rule")
        if not callable(self.vjp) and not isinstance(self.vjp, NoGradient):
            raise InternalError(
                f"operator {self.name!r} has no vjp rule; say vjp=NoGradient(reason) if that is meant"
            )
        if self.name in OPERATORS:
            raise InternalError(f"operator {self.name!r} is declared twice")
        OPERATORS[self.name] = self

    @cached_property
    def signature(self) -> inspect.Signature:
        """Return the signature of the operator: inputs before the slash, attributes after it."""
        return inspect.signature(self.infer)

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """Return the names of the inputs."""
        parameters = self.signature.parameters.values()
        return tuple(each.name for each in parameters if each.kind is inspect.Parameter.POSITIONAL_ONLY)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute on Tensors, or emit a binding when an input is symbolic."""
        inputs, attrs = self._bind(args, kwargs)
        builder = innermost(inputs)
        matched = self._match(inputs)
        if builder is None:
            arrays = [_eager(each, dtype) for each, dtype in matched]
            attrs = self.normalized(tuple(TensorType.of(each) for each in arrays), attrs)
            self.infer_types([TensorType.of(each) for each in arrays], attrs)
            outputs: Sequence[Any] = [Tensor.wrap(each) for each in self.run(arrays, attrs)]
        else:
            values = [_symbolic(builder.value(each, dtype), dtype) for each, dtype in matched]
            outputs = builder.emit(
                self.name, values, self.normalized(tuple(each.type for each in values), attrs)
            )
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def infer_types(self, types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
        """Return the types of the outputs."""
        inferred = self.infer(*types, **attrs)
        return inferred if isinstance(inferred, tuple) else (inferred,)

    def run(self, arrays: Sequence[Array], attrs: Attrs) -> tuple[Array, ...]:
        """Return the outputs computed in NumPy; infinities and NaNs are values, as on the device."""
        with np.errstate(all="ignore"):
            outputs = self.evaluate(*arrays, **attrs)
        return tuple(np.asarray(each) for each in (outputs if isinstance(outputs, tuple) else (outputs,)))

    def normalized(self, types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Attr]:
        """Return attributes as plain values in their one spelling."""
        plain = {key: _plain(value) for key, value in attrs.items()}
        return plain if self.normalize is None else self.normalize(types, plain)

    def __repr__(self) -> str:
        """Return name and signature."""
        return f"ops.{self.name}({', '.join(self.signature.parameters)})"

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        named = {key: kwargs.pop(key) for key in self.input_names[len(args) :] if key in kwargs}
        args = (*args, *(named[key] for key in self.input_names[len(args) :] if key in named))
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as mistake:
            raise DavinciError(f"ops.{self.name}{self.signature_text}: {mistake}") from None
        bound.apply_defaults()
        attrs = {key: value for key, value in bound.arguments.items() if key not in self.input_names}
        return [bound.arguments[key] for key in self.input_names], attrs

    @property
    def signature_text(self) -> str:
        """Return the argument names, for messages."""
        return f"({', '.join(self.signature.parameters)})"

    def _match(self, inputs: list[Any]) -> list[tuple[Any, DType | None]]:
        """Return each input with the dtype it is to have; None leaves it alone."""
        if not self.promotes:
            return [(each, None) for each in inputs]
        types = [_dtype_of(each) for each in inputs]
        known = [each for each in types if each is not None]
        if not known:
            return [(each, None) for each in inputs]
        wanted = known[0]
        for each in known[1:]:
            wanted = promote(wanted, each)
        if not wanted.is_float and any(isinstance(each, float) for each in inputs):
            wanted = float32
        return [(each, wanted) for each in inputs]


def _dtype_of(value: Any) -> DType | None:
    if isinstance(value, (Sym, Tensor)):
        return value.dtype
    return TensorType.of(np.asarray(value)).dtype if isinstance(value, (np.ndarray, np.generic)) else None


def _eager(value: Any, dtype: DType | None) -> Array:
    if not isinstance(value, (Tensor, np.ndarray, np.generic, int, float, bool, list)):
        raise DavinciError(f"a {type(value).__name__} is not a tensor: {value!r}")
    array = value.numpy() if isinstance(value, Tensor) else Tensor(value).numpy()
    return array if dtype is None or array.dtype == dtype.numpy else array.astype(dtype.numpy)


def _symbolic(value: Sym, dtype: DType | None) -> Sym:
    return value if dtype is None or value.dtype == dtype else value.astype(dtype)


def _plain(value: Any) -> Attr:
    """Return an attribute as an int, float, bool, string or tuple of them."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(each) for each in value)
    if isinstance(value, DType):
        return value.name
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise DavinciError(
        f"an attribute must be a number, a string or a tuple of them, not {type(value).__name__}"
    )
