"""Operators on scalars as Numba compiles them: with the bits that NumPy computes.

What IEEE 754 rounds correctly, and integers, which wrap, are written as they are; for all else NumPy's own
loop is called (see `ufuncs`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from framework.dtypes import DType
from framework.host.native.kinds import NotNative
from framework.host.native.ufuncs import has_loop
from framework.host.operators import INFIX, is_identity, is_scalar, ufunc_of
from framework.ir.nodes import Binding, Const

ANY = {"select": "{1} if {0} else {2}", "zeros_like": "{zero}"}
SIGNED = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "square": "{0} * {0}",
    "neg": "-{0}", "abs": "abs({0})",
}  # fmt: skip
LOGIC = {
    "logical_and": "{0} & {1}", "logical_or": "{0} | {1}",
    "logical_xor": "{0} ^ {1}", "logical_not": "not {0}",
}  # fmt: skip
FLOATS = {
    "div": "{0} / {1}",
    "sqrt": "np.sqrt({0})",
    "rsqrt": "{one} / np.sqrt({0})",
    "reciprocal": "{one} / {0}",
    "relu_grad": "{0} if {1} > 0 else {zero}",
    "isnan": "{0} != {0}",
    "isfinite": "{0} - {0} == {0} - {0}",
}
INTEGERS = {
    "maximum": "{0} if {0} >= {1} else {1}", "minimum": "{0} if {0} <= {1} else {1}",
    "sign": "({0} > 0) - ({0} < 0)", "floor": "{0}", "ceil": "{0}", "round": "{0}",
}  # fmt: skip
COMPARISONS = ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal")
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
    if op in COMPARISONS:
        return f"{inputs[0]} {INFIX[op]} {inputs[1]}"
    template = _template(op, dtype)
    if template:
        return template.format(*inputs, one=cast("1", dtype.name), zero=cast("0", dtype.name))
    return _by_ufunc(op, dtype, inputs, ufunc)


def _by_ufunc(op: str, dtype: DType, inputs: Sequence[str], ufunc: Ufunc) -> str:
    """Return the call of the ufunc that an operator is, or that it is made of."""
    if op == "relu":
        return _by_ufunc("maximum", dtype, [inputs[0], cast("0", dtype.name)], ufunc)
    if op == "sigmoid":
        one, power = cast("1", dtype.name), _by_ufunc("exp", dtype, [f"-{inputs[0]}"], ufunc)
        return f"{one} / ({one} + {power})"
    found = ufunc_of(op, dtype)
    if found is None or not has_loop(found, dtype.name):
        raise NotNative(op)
    return ufunc(op, dtype.name, inputs)


def _template(op: str, dtype: DType) -> str:
    """Return how an operator is written on values of a dtype, with {0}, {1}, ... for them; or nothing."""
    if op in ANY:
        return ANY[op]
    if dtype.name == "bool":
        return LOGIC.get(op, "")
    found = SIGNED.get(op) or (FLOATS if dtype.is_float else INTEGERS).get(op, "")
    return f"np.int32({found})" if found and dtype.name == "int32" else found  # Numba widens int32


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
