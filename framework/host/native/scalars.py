"""Operators on scalars as Numba compiles them: with the bits that NumPy computes.

What IEEE 754 rounds correctly, and integers, which wrap, are written as they are; of all else NumPy's own loop
is called (see `ufuncs`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from framework.host.native.kinds import NotNative
from framework.host.native.ufuncs import has_loop
from framework.host.operators import INFIX, UFUNCS, is_identity, is_scalar
from framework.ir.nodes import Binding, Const

ARITHMETIC = ("add", "sub", "mul")
LOGIC = {
    "logical_and": "{} & {}", "logical_or": "{} | {}", "logical_xor": "{} ^ {}", "logical_not": "not {}",
}  # fmt: skip
FLOATS = {
    "div": "{0} / {1}",
    "sqrt": "np.sqrt({0})",
    "rsqrt": "{one} / np.sqrt({0})",
    "reciprocal": "{one} / {0}",
    "square": "{0} * {0}",
    "relu_grad": "{0} if {1} > 0 else {zero}",
}
Ufunc = Callable[[str, str, Sequence[str]], str]
"""Returns the call of a ufunc, by name, for a dtype, of these values."""


def expression(binding: Binding, inputs: Sequence[str], ufunc: Ufunc) -> str:
    """Return the source of an operator's one output, or raise NotNative."""
    op = binding.op
    if not is_scalar(binding) or len(binding.outputs) != 1:
        raise NotNative(op)
    if is_identity(binding):
        return inputs[0]
    dtype = binding.inputs[0].tensor.dtype
    if op in INFIX and op not in ARITHMETIC:
        return f"{inputs[0]} {INFIX[op]} {inputs[1]}"
    if op == "select":
        return f"{inputs[1]} if {inputs[0]} else {inputs[2]}"
    if op == "cast":
        return cast(inputs[0], binding.outputs[0].tensor.dtype.name)
    if op == "zeros_like":
        return cast("0", dtype.name)
    if dtype.name == "bool":
        return _logic(op, inputs)
    if op in ARITHMETIC:
        return _wrapped(f"{inputs[0]} {INFIX[op]} {inputs[1]}", dtype.name)
    if op in ("neg", "abs"):
        return _wrapped(f"-{inputs[0]}" if op == "neg" else f"abs({inputs[0]})", dtype.name)
    if op in FLOATS and dtype.is_float:
        return FLOATS[op].format(*inputs, one=cast("1", dtype.name), zero=cast("0", dtype.name))
    return _ufunc(op, dtype.name, inputs, ufunc)


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


def _logic(op: str, inputs: Sequence[str]) -> str:
    if op not in LOGIC:
        raise NotNative(op)
    return LOGIC[op].format(*inputs)


def _wrapped(value: str, dtype: str) -> str:
    """Return a sum or product in its own dtype: Numba computes those of narrow integers in wide ones."""
    return f"np.int32({value})" if dtype == "int32" else value


def _ufunc(op: str, dtype: str, inputs: Sequence[str], ufunc: Ufunc) -> str:
    if op == "relu":
        op, inputs = "maximum", [inputs[0], cast("0", dtype)]
    if op not in UFUNCS or not has_loop(UFUNCS[op], dtype):
        raise NotNative(op)
    return ufunc(op, dtype, inputs)
