"""How an operator is written in Python source: as NumPy means it for the types at hand.

Scalars stay NumPy scalars, on which `+` costs a tenth of a ufunc; where an operator has no short spelling its
`evaluate` is called, with the attributes bound.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from framework.dtypes import DType
from framework.host.writer import Module
from framework.ir.nodes import Binding, Const
from framework.ir.registry import operator
from framework.ir.types import TensorType

Array = np.ndarray[Any, Any]

INFIX = {
    "add": "+", "sub": "-", "mul": "*", "equal": "==", "not_equal": "!=",
    "greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=",
    "logical_and": "&", "logical_or": "|", "logical_xor": "^",
}  # fmt: skip
INTEGER_INFIX = {"floor_div": "//", "mod": "%"}
TEMPLATES = {"neg": "-{0}", "abs": "abs({0})", "square": "{0} * {0}", "logical_not": "~{0}"}
UFUNCS: dict[str, np.ufunc] = {
    "maximum": np.maximum, "minimum": np.minimum, "exp": np.exp, "log": np.log, "sqrt": np.sqrt,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "log1p": np.log1p, "expm1": np.expm1,
    "floor_div": np.floor_divide, "mod": np.mod,
}  # fmt: skip
"""Operators that are a ufunc on inputs of one of `UFUNC_DTYPES`."""
FLOAT_UFUNCS: dict[str, np.ufunc] = {
    "pow": np.power, "floor": np.floor, "ceil": np.ceil, "round": np.rint, "sign": np.sign,
}  # fmt: skip
"""Operators that are a ufunc on floats; with integers they take care."""
UFUNC_DTYPES = ("int32", "int64", "float32", "float64")
SCALAR_IDENTITIES = {
    "reshape", "transpose", "broadcast_to",
    "reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod", "reduce_all", "reduce_any",
}  # fmt: skip
"""What leaves a 0-d tensor as it is when its result is 0-d, too."""


def ufunc_of(op: str, dtype: DType) -> np.ufunc | None:
    """Return the ufunc that an operator is on inputs of a dtype, None if it is more than one."""
    if dtype.name not in UFUNC_DTYPES:
        return None
    found = FLOAT_UFUNCS.get(op) if dtype.is_float else None
    return UFUNCS.get(op, found)


def types_of(binding: Binding) -> tuple[TensorType, ...]:
    """Return the types of the inputs of an operator."""
    return tuple(atom.tensor for atom in binding.inputs)


def is_scalar(binding: Binding) -> bool:
    """Tell whether all inputs and outputs of an operator are 0-d."""
    return not any(each.shape for each in types_of(binding)) and not any(
        var.tensor.shape for var in binding.outputs
    )


def is_identity(binding: Binding) -> bool:
    """Tell whether an operator only hands its input on."""
    if binding.op == "stop_gradient":
        return True
    return binding.op in SCALAR_IDENTITIES and len(binding.inputs) == 1 and is_scalar(binding)


def expression(module: Module, binding: Binding, inputs: Sequence[str]) -> str:
    """Return the source of an operator's outputs: one value, or a tuple if there are several."""
    op, types = binding.op, types_of(binding)
    infix = _infix(op, types)
    if is_identity(binding):
        return inputs[0]
    if infix:
        return f"{inputs[0]} {infix} {inputs[1]}"
    if op in TEMPLATES:
        return TEMPLATES[op].format(inputs[0])
    ufunc = ufunc_of(op, types[0].dtype) if types else None
    if ufunc is not None:
        return f"{module.name('U', op, ufunc)}({', '.join(inputs)})"
    if op == "select" and is_scalar(binding):
        return f"{inputs[1]} if {inputs[0]} else {inputs[2]}"
    if op == "zeros_like" and is_scalar(binding):
        return module.constant(Const.of(np.zeros((), types[0].dtype.numpy)))
    if op == "cast":
        wanted = binding.outputs[0].tensor.dtype
        return f"{inputs[0]}.astype({module.name('D', wanted.name, wanted.numpy)})"
    return _call(module, binding, inputs)


def _infix(op: str, types: Sequence[TensorType]) -> str:
    """Return the sign that Python writes between two operands, if that means the operator."""
    if op == "div" and types[0].dtype.is_float:
        return "/"
    if op in INTEGER_INFIX and types[0].dtype.name in UFUNC_DTYPES and not types[0].dtype.is_float:
        return INTEGER_INFIX[op]
    return INFIX.get(op, "")


def _call(module: Module, binding: Binding, inputs: Sequence[str]) -> str:
    """Return a call of what evaluates the operator; it is given arrays, not NumPy scalars."""
    arrays = [
        name if each.shape else f"{module.name('A', 'asarray', np.asarray)}({name})"
        for name, each in zip(inputs, types_of(binding), strict=True)
    ]
    return f"{evaluator_name(module, binding)}({', '.join(arrays)})"


def evaluator_name(module: Module, binding: Binding) -> str:
    """Return the name of what evaluates an operator, of arrays."""
    key = (binding.op, repr(sorted(binding.attrs.items())))
    return module.name("E", key, _evaluator(binding))


def _evaluator(binding: Binding) -> Callable[..., Any]:
    """Return the NumPy function of an operator with its attributes: of arrays, to one output or a tuple."""
    attrs, evaluate = dict(binding.attrs), _evaluate(binding.op)
    if len(binding.outputs) != 1:
        return functools.partial(evaluate, **attrs)

    def single(*arrays: Array) -> Array:
        found: Any = evaluate(*arrays, **attrs)
        return found[0] if type(found) is tuple else found  # type: ignore[no-any-return]

    return single


def _evaluate(name: str) -> Callable[..., Any]:
    """Return what computes an operator."""
    found: Any = operator(name)
    evaluate: Callable[..., Any] = found.evaluate
    return evaluate
