"""Operators on scalars as Numba compiles them: with the bits that NumPy computes.

What IEEE 754 rounds correctly, and integers, which wrap, are written as they are; for all else NumPy's own
loop is called (see `ufuncs`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from framework.dtypes import DType
from framework.host.native.kinds import NotNative
from framework.host.native.ufuncs import has_loop
from framework.host.operators import INFIX, UFUNCS, is_identity, is_scalar
from framework.ir.nodes import Binding, Const

ARITHMETIC = ("add", "sub", "mul")
ANY = {"select": "{1} if {0} else {2}", "zeros_like": "{zero}"}
SIGNED = {"add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "neg": "-{0}", "abs": "abs({0})"}
LOGIC = {
    "logical_and": "{0} & {1}", "logical_or": "{0} | {1}",
    "logical_xor": "{0} ^ {1}", "logical_not": "not {0}",
}  # fmt: skip
FLOATS = {
    "div": "{0} / {1}",
    "sqrt": "np.sqrt({0})",
    "rsqrt": "{one} / np.sqrt({0})",
    "reciprocal": "{one} / {0}",
    "square": "{0} * {0}",
    "relu_grad": "{0} if {1} > 0 else {zero}",
}
INTEGERS = {"maximum": "{0} if {0} >= {1} else {1}", "minimum": "{0} if {0} <= {1} else {1}"}
Ufunc = Callable[[str, str, Sequence[str]], str]
"""Returns the call of a ufunc, by name, for a dtype, of these values."""


def expression(binding: Binding, inputs: Sequence[str], ufunc: Ufunc) -> str:
    """Return the source of an operator's one output, or raise NotNative."""
    op = binding.op
    if not is_scalar(binding) or len(binding.outputs) != 1:
        raise NotNative(op)
    dtype = binding.inputs[0].tensor.dtype
    if is_identity(binding):
        return inputs[0]
    if op == "cast":
        return cast(inputs[0], binding.outputs[0].tensor.dtype.name)
    if op in INFIX and op not in ARITHMETIC:
        return f"{inputs[0]} {INFIX[op]} {inputs[1]}"
    template = _template(op, dtype)
    if template:
        return template.format(*inputs, one=cast("1", dtype.name), zero=cast("0", dtype.name))
    if op == "relu":
        op, inputs = "maximum", [inputs[0], cast("0", dtype.name)]
    if dtype.name == "bool" or op not in UFUNCS or not has_loop(UFUNCS[op], dtype.name):
        raise NotNative(op)
    return ufunc(op, dtype.name, inputs)


def _template(op: str, dtype: DType) -> str:
    """Return how an operator is written on values of a dtype, with {0}, {1}, ... for them; or nothing."""
    if op in ANY:
        return ANY[op]
    if dtype.name == "bool":
        return LOGIC.get(op, "")
    if op in SIGNED:  # Numba computes with narrow integers as with wide ones
        return f"np.int32({SIGNED[op]})" if dtype.name == "int32" else SIGNED[op]
    return (FLOATS if dtype.is_float else INTEGERS).get(op, "")


def literal(const: Const) -> str:
    """Return a constant in source; infinities and NaNs are read from the names they have in NumPy."""
    value, dtype = const.value[()], const.type.dtype
    if not dtype.is_float:
        return str(bool(value)) if dtype.name == "bool" else cast(str(int(value)), dtype.name)
    text = repr(float(value)).replace("inf", "np.inf").replace("nan", "np.nan")
    return cast(text, dtype.name)


def cast(value: str, dtype: str) -> str:
    """Return the source of a value in another dtype."""
    return f"({value} != 0)" if dtype == "bool" else f"np.{dtype}({value})"
