"""Kernels of the user as operators: types, values, gradient and launch all follow from the kernel."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from davinci_sim.errors import DavinciError
from framework.dtypes import dtype as framework_dtype
from framework.graph_engine.data import operators
from framework.ir.registry import OPERATORS
from framework.ir.types import TensorType
from framework.ops.lowering import DEVICE_DTYPES, Launch
from framework.ops.op import Array, Call, MissingGradient, NoGradient, Op, Rule
from kernels.lang.kernel import Kernel, Operand
from kernels.lang.shapes import Shape

FRAMEWORK_DTYPES = {device: name for name, device in DEVICE_DTYPES.items()}
FIRST_PROBE = 1009
"""Axes are told apart by giving each a length that no other one has: from this number on."""
Axes = Callable[..., Mapping[str, int]]


@dataclass(frozen=True, eq=False, repr=False)
class KernelOp(Op):
    """An operator that a kernel of the user computes on the device, and its NumPy reference on the host."""

    kernel: Kernel | None = None


def kernel_op(
    kernel: Kernel, vjp: Kernel | Rule | NoGradient, *, axes: Axes | None = None, keeps_zero: bool = False,
    name: str = "",
) -> KernelOp:  # fmt: skip
    """Return an operator for a kernel; see `framework.ops.kernel_op`."""
    signature = _Signature(kernel, axes)
    name = name or kernel.name
    known = OPERATORS.get(name)
    if isinstance(known, KernelOp) and known.kernel is not None and _is_same(known.kernel, kernel):
        del OPERATORS[name]  # the file was loaded once more
    elif known is not None:
        raise DavinciError(
            f"kernel {kernel.name}: there is an operator {name}\n"
            "  rule: names of operators are unique\n"
            f"  next: kernel_op(..., name='my_{name}')"
        )
    rule = _by_names(name, signature, vjp) if isinstance(vjp, Kernel) else vjp
    launched = operators.add(kernel)
    return KernelOp(
        name, signature.letters, signature.infer, signature.evaluate, rule,
        lambda ins, outs, attrs, cores: [signature.launch(launched, ins, keeps_zero)], kernel=kernel,
    )  # fmt: skip


def _is_same(one: Kernel, other: Kernel) -> bool:
    return (one.module, one.source) == (other.module, other.source)


class _Signature:
    """How tensors become the operands of a kernel, and its shape."""

    def __init__(self, kernel: Kernel, axes: Axes | None) -> None:
        self.kernel, self.axes = kernel, axes
        parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in self.input_names]
        infer: Any = lambda *types: self.output_types(types)
        infer.__signature__ = inspect.Signature(parameters)
        self.infer: Callable[..., tuple[TensorType, ...]] = infer

    @cached_property
    def probed(self) -> tuple[Operand, ...]:
        """The operands for axes of lengths that tell them apart."""
        options = self.kernel.shape_type.OPTIONS
        lengths = {axis: length for length, axis in self._axes.items() if axis not in options}
        return self.kernel.operands(self.kernel.shape_type(**lengths))

    @cached_property
    def _axes(self) -> dict[int, str]:
        """The axes by these lengths."""
        return dict(enumerate(self.kernel.axes, FIRST_PROBE))

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """The names of what the kernel reads."""
        return tuple(operand.name for operand in self.probed if not operand.is_output)

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """The names of what the kernel writes."""
        return tuple(operand.name for operand in self.probed if operand.is_output)

    @property
    def letters(self) -> str:
        """The axes, as an operator declares them: nothing is known of them."""
        return f"{','.join('*' * len(self.input_names))}->{','.join('*' * len(self.output_names))}"

    def shape(self, types: Sequence[TensorType]) -> Shape:
        """Return the kernel's shape for types of inputs.

        Raises:
            DavinciError: an axis cannot be told from them, or two say different things; a type is wrong.
            BadShape: the kernel refuses the shape.
        """
        given = dict(self.axes(*types)) if self.axes is not None else self._told_by(types)
        takes_dtype = "dtype" in self.kernel.shape_type.names()
        made = self.kernel.shape_type.of(
            self.kernel.name, given, self._device_dtype(types[0]) if takes_dtype else None
        )
        for type_, operand in zip(types, self._inputs(made), strict=True):
            if self._device_dtype(type_) != operand.dtype_name or type_.size != math.prod(operand.shape):
                wanted = _type_of(operand, operand.shape)
                raise DavinciError(
                    f"operator of kernel {self.kernel.name}: {operand.name} is {type_}\n"
                    f"  rule: for shape {made} it is {wanted}\n  next: cast or reshape it"
                )
        return made

    def _inputs(self, shape: Shape) -> list[Operand]:
        return [operand for operand in self.kernel.operands(shape) if not operand.is_output]

    def _told_by(self, types: Sequence[TensorType]) -> dict[str, int]:
        """Return the axes that the inputs' shapes tell."""
        found: dict[str, int] = {}
        for type_, operand in zip(types, [o for o in self.probed if not o.is_output], strict=True):
            for length, probe in zip(_folded(type_.shape, len(operand.shape)), operand.shape, strict=True):
                axis = self._axes.get(probe)
                if axis is not None and found.setdefault(axis, length) != length:
                    raise DavinciError(
                        f"operator of kernel {self.kernel.name}: axis {axis} is {found[axis]} and, by "
                        f"{operand.name} {type_}, {length}\n  rule: inputs agree about it\n"
                        "  next: reshape one of them"
                    )
        return found

    def _device_dtype(self, type_: TensorType) -> str:
        if type_.dtype.name not in DEVICE_DTYPES:
            raise DavinciError(
                f"operator of kernel {self.kernel.name}: an input is {type_}\n"
                f"  rule: kernels take {', '.join(DEVICE_DTYPES)}\n  next: cast it"
            )
        return DEVICE_DTYPES[type_.dtype.name]

    def output_types(self, types: Sequence[TensorType]) -> tuple[TensorType, ...]:
        """Return the types of the outputs; one with the operand shape of an input has that tensor's shape."""
        operands = self.kernel.operands(self.shape(types))
        inputs = [operand for operand in operands if not operand.is_output]
        shapes = {operand.shape: type_.shape for operand, type_ in zip(inputs, types, strict=True)}
        return tuple(
            TensorType(
                shapes.get(operand.shape, operand.shape),
                framework_dtype(FRAMEWORK_DTYPES[operand.dtype_name]),
            )
            for operand in operands
            if operand.is_output
        )

    def evaluate(self, *arrays: Array) -> tuple[Array, ...]:
        """Compute with the kernel's NumPy reference."""
        types = [TensorType.of(array) for array in arrays]
        shape = self.shape(types)
        given = [
            array.reshape(operand.shape) for array, operand in zip(arrays, self._inputs(shape), strict=True)
        ]
        results = self.kernel.reference(shape, *given)
        outputs = self.output_types(types)
        return tuple(
            result.astype(type_.dtype.numpy, copy=False).reshape(type_.shape)
            for result, type_ in zip(results, outputs, strict=True)
        )

    def launch(self, name: str, types: Sequence[TensorType], keeps_zero: bool) -> Launch:
        """Return the one launch of the kernel, which the operator store knows by a name."""
        shape = self.shape(types)
        numbers = {False: iter(range(len(self.input_names))), True: iter(range(len(self.output_names)))}
        operands = tuple(
            f"{'out' if operand.is_output else 'in'}{next(numbers[operand.is_output])}"
            for operand in self.kernel.operands(shape)
        )
        axes = {name: getattr(shape, name) for name in self.kernel.axes}
        return Launch(name, axes, operands, self._device_dtype(types[0]), flat=keeps_zero)


def _type_of(operand: Operand, shape: tuple[int, ...]) -> TensorType:
    """Return the type of a tensor for an operand."""
    return TensorType(shape, framework_dtype(FRAMEWORK_DTYPES[operand.dtype_name]))


def _folded(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Return a shape with leading axes joined, or ones put before it, so that it has a rank.

    >>> _folded((2, 3, 4), 2), _folded((4,), 2)
    ((6, 4), (1, 4))
    """
    if len(shape) < rank:
        return (1,) * (rank - len(shape)) + shape
    kept = len(shape) - rank + 1
    return (math.prod(shape[:kept]), *shape[kept:]) if rank else ()


def _by_names(op: str, forward: _Signature, gradient: Kernel) -> Rule:
    """Return the gradient rule that calls a kernel: `dy` is the cotangent of y, `dx` that of x.

    Raises:
        DavinciError: an operand of the kernel has another name.
    """
    own = f"{op}_vjp"
    missing = MissingGradient(own, f"it is kernel {gradient.name}, the gradient of {op}")
    backward = kernel_op(gradient, missing, name=own)
    names = _Signature(gradient, None)
    inputs, outputs = _places(forward.input_names), _places(forward.output_names)
    cotangents = {f"d{name}": at for name, at in outputs.items()}
    results = {f"d{name}": at for name, at in inputs.items()}
    _check_names(gradient, names.input_names, {**cotangents, **inputs, **outputs})
    _check_names(gradient, names.output_names, results)

    def rule(call: Call, *given: Any) -> tuple[Any, ...]:
        values = {name: call.inputs[at] for name, at in inputs.items()}
        values |= {name: call.outputs[at] for name, at in outputs.items()}
        values |= {name: given[at].astype(call.outputs[at].dtype) for name, at in cotangents.items()}
        made = backward(*(values[name] for name in names.input_names))
        found: list[Any] = [None] * len(inputs)
        for name, result in zip(
            names.output_names, made if isinstance(made, tuple) else (made,), strict=True
        ):
            found[results[name]] = result
        return tuple(found)

    return rule


def _places(names: Sequence[str]) -> dict[str, int]:
    return {name: at for at, name in enumerate(names)}


def _check_names(gradient: Kernel, found: Sequence[str], legal: Mapping[str, int]) -> None:
    for name in found:
        if name not in legal:
            raise DavinciError(
                f"gradient kernel {gradient.name}: operand {name} has no meaning\n"
                f"  rule: its name is one of {', '.join(legal)}\n"
                "  next: rename it, or give a rule: vjp=lambda call, dy: (...)"
            )
