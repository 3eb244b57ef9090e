"""What an operator is: one value that holds every rule about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError, InternalError
from framework.dtypes import DType
from framework.ir.builder import Builder, Sym, innermost, not_a_tensor
from framework.ir.nodes import Attr, Attrs
from framework.ir.registry import OPERATORS
from framework.ir.types import TensorType
from framework.ops.lowering import Lowering
from framework.ops.matching import BOOL, FLOAT, INT, WEAK, is_weak, meeting_dtype
from framework.tensor import Tensor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class NoGradient:
    """Says why no cotangent flows through an operator: its outputs do not move with its inputs."""

    reason: str


class GradientError(DavinciError):
    """A function that has no gradient of the kind asked for, or a gradient rule that is wrong."""


@dataclass(frozen=True)
class MissingGradient:
    """The rule of an operator whose gradient nobody has written: it refuses, instead of giving zeros."""

    op: str
    reason: str

    def __call__(self, call: Call, *cotangents: Sym) -> tuple[Any, ...]:
        """Refuse to give cotangents."""
        raise GradientError(
            f"operator {self.op} has no gradient rule: {self.reason}\n"
            f"  next: give one, vjp=lambda call, dy: (...); or ops.stop_gradient({self.op}(...)) for zeros"
        )


@dataclass(frozen=True)
class Call:
    """One application of an operator, as its gradient rule sees it: symbolic values and attributes.

    `wide` holds, by position, the dtypes of inputs that a cast has narrowed for this operator.
    """

    inputs: tuple[Sym, ...]
    outputs: tuple[Sym, ...]
    attrs: dict[str, Any]
    wide: Mapping[int, DType] = field(default_factory=dict)

    def cotangent_dtype(self, position: int) -> DType:
        """Return the dtype in which the cotangent of an input keeps all of its digits."""
        return self.wide.get(position, self.inputs[position].dtype)


@dataclass(frozen=True)
class Arg:
    """An input of a sample: floats between low and high, all distinct, or integers below high."""

    shape: tuple[int, ...]
    dtype: str = "float64"
    low: float = -2.0
    high: float = 2.0

    def draw(self, generator: np.random.Generator, offset: float = 0.0) -> Array:
        """Return an array; the offset keeps the values of two inputs apart."""
        if self.dtype.startswith(("int", "uint", "bool")):
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
Batch = Callable[[list[Sym], list[bool], dict[str, Any], int], list[Sym] | None]
"""(inputs, which have a batch axis in front, attributes, its length) -> outputs, all with that axis."""


@dataclass(frozen=True, eq=False)
class Op:
    """An operator: `op(x, y, attr=...)` computes on Tensors and emits IR on symbolic values.

    The signature of `infer` is the operator's: inputs stand before the slash, or behind a star when there may
    be any number of them, attributes after it. `normalize` turns attributes into their one spelling.
    `promotes` lets inputs (all, or those at some positions) of different dtypes meet in the wider one. With
    `floats` integers become floats, with `integers` truths become integers, with `counts` only those of them
    that are numbers.
    `vjp(call, *cotangents)` returns one cotangent, or None, per input; it may be wider. `batch` applies the
    operator to every item of batches at once; it returns None for inputs that it knows no way for.
    Inputs from the position `checked` on are looked at when the operator runs, and may be refused; 0 is not.
    One that `meets` is computed together with other ranks: neither while compiling, nor more or less often.
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
    promotes: bool | tuple[int, ...] = False
    floats: bool = False
    integers: bool = False
    counts: bool = False
    batch: Batch | None = None
    checked: int | None = None
    meets: bool = False

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
        """Return the names of the inputs; one with a star stands for any number of them."""
        return tuple(name for name, each in self.signature.parameters.items() if each.kind in _INPUTS)

    @cached_property
    def is_variadic(self) -> bool:
        """Tell whether there may be any number of inputs."""
        kinds = [each.kind for each in self.signature.parameters.values()]
        return inspect.Parameter.VAR_POSITIONAL in kinds

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute on Tensors, or emit a binding when an input is symbolic."""
        inputs, attrs = self.bind(args, kwargs)
        builder = innermost(inputs)
        if builder is None:
            outputs: Sequence[Any] = self._compute(inputs, attrs)
        elif self._fit(inputs):
            types = tuple(each.type for each in inputs)
            outputs = builder.emit(self.name, inputs, self.normalized(types, attrs))
        else:
            outputs = self._emit(builder, inputs, attrs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _compute(self, inputs: list[Any], attrs: dict[str, Any]) -> list[Tensor]:
        """Return the outputs for inputs that are all known."""
        arrays = [_eager(each, dtype) for each, dtype in zip(inputs, self._dtypes(inputs), strict=True)]
        types = tuple(TensorType.of(each) for each in arrays)
        attrs = self.normalized(types, attrs)
        self.infer_types(types, attrs)
        return [Tensor.wrap(each) for each in self.run(arrays, attrs)]

    def _emit(self, builder: Builder, inputs: list[Any], attrs: dict[str, Any]) -> Sequence[Sym]:
        """Write a binding, and before it the casts that it takes for the inputs to meet."""
        dtypes = zip(inputs, self._dtypes(inputs), strict=True)
        values = [_symbolic(builder.value(each, dtype), dtype) for each, dtype in dtypes]
        types = tuple(each.type for each in values)
        outputs = builder.emit(self.name, values, self.normalized(types, attrs))
        are_numbers = is_weak([inputs[position] for position in self._meeting(inputs)])
        return [_weakened(each) for each in outputs] if are_numbers and self.name != "cast" else outputs

    def _fit(self, inputs: list[Any]) -> bool:
        """Tell, quickly, whether inputs are symbolic tensors of one dtype, which nothing is to be done to."""
        dtype: DType | None = None
        for each in inputs:
            if type(each) is not Sym or each.weak or each.type.dtype is not (dtype or each.type.dtype):
                return False
            dtype = each.type.dtype
        return dtype is None or dtype.is_float or not (self.floats or self.integers)

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

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the inputs and the attributes of a call; several inputs may come as one list."""
        if self.is_variadic and len(self.input_names) == 1 and args and isinstance(args[0], (list, tuple)):
            args, further = args[0], args[1:]
            kwargs = {**dict(zip(self._defaults, further, strict=False)), **kwargs}
        defaults = self._defaults
        count, most = len(self.input_names), len(self.input_names) + len(defaults)
        if self.is_variadic:
            count = most = max(len(args), count - 1)
        if not (count <= len(args) <= most and kwargs.keys() <= defaults.keys()):
            return self._bind_by_signature(args, kwargs)
        attrs = {**defaults, **dict(zip(defaults, args[count:], strict=False)), **kwargs}
        if any(each is _MISSING for each in attrs.values()):
            return self._bind_by_signature(args, kwargs)
        return list(args[:count]), attrs

    def _bind_by_signature(
        self, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Bind inputs that are given by name, or that may be any number; refuse what does not fit."""
        named = {key: kwargs.pop(key) for key in self.input_names[len(args) :] if key in kwargs}
        args = (*args, *(named[key] for key in self.input_names[len(args) :] if key in named))
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as mistake:
            raise DavinciError(f"ops.{self.name}{self.signature_text}: {mistake}") from None
        bound.apply_defaults()
        inputs: list[Any] = []
        for name in self.input_names:
            given = bound.arguments.pop(name)
            inputs.extend(given if self.signature.parameters[name].kind is _ANY else [given])
        return inputs, dict(bound.arguments)

    @property
    def signature_text(self) -> str:
        """Return the argument names, for messages."""
        return f"({', '.join(self.signature.parameters)})"

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        """Return the attributes with their defaults."""
        parameters = self.signature.parameters.items()
        return {name: each.default for name, each in parameters if name not in self.input_names}

    def _meeting(self, inputs: Sequence[Any]) -> Sequence[int]:
        """Return the positions of the inputs that meet in one dtype."""
        return self.promotes if isinstance(self.promotes, tuple) else range(len(inputs))

    def _dtypes(self, inputs: Sequence[Any]) -> list[DType | None]:
        """Return the dtype that each input is to have; None leaves it alone."""
        found: list[DType | None] = [None] * len(inputs)
        if self.promotes:
            positions = self._meeting(inputs)
            wanted = self._met([inputs[position] for position in positions])
            for position in positions:
                found[position] = wanted
        elif self.floats or self.integers or self.counts:
            found = [self._met([each]) for each in inputs]
        return found

    def _met(self, values: Sequence[Any]) -> DType:
        least = FLOAT if self.floats else INT if self.integers else BOOL
        return meeting_dtype(values, least, max(least, INT if self.counts else BOOL))


_MISSING = inspect.Parameter.empty
_ANY = inspect.Parameter.VAR_POSITIONAL
_INPUTS = (inspect.Parameter.POSITIONAL_ONLY, _ANY)


def _weakened(value: Sym) -> Sym:
    """Return a result of numbers, which is a number unless it has axes."""
    value.weak = value.shape == () and value.dtype in WEAK
    return value


def _eager(value: Any, dtype: DType | None) -> Array:
    if not isinstance(value, (Tensor, np.ndarray, np.generic, int, float, bool, list)):
        raise not_a_tensor(value)
    array = value.numpy() if isinstance(value, Tensor) else Tensor(value, dtype).numpy()
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
    if isinstance(value, Sym):
        raise DavinciError(
            f"an attribute is {value.type}, which is known at run time only\n"
            "  rule: shapes, axes and the like are known when compiling\n"
            "  next: close over the number or bind it with functools.partial instead of passing it, or write "
            "a loop over it with ops.unroll"
        )
    raise DavinciError(
        f"an attribute must be a number, a string or a tuple of them, not {type(value).__name__}"
    )
