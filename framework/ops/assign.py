"""New values for Parameters while a network computes: moving averages, counters, states."""

from __future__ import annotations

from typing import Any

from davinci_sim.errors import DavinciError, ShapeMismatch
from framework.ir.builder import Sym, innermost
from framework.tensor import Parameter, Tensor


def assign(parameter: Any, value: Any) -> Any:
    """Give a Parameter a new value of its own type, and return it; what comes after reads the new value.

    In compiled code the value becomes a further result of the Func, which goes to the Parameter when the Func
    has run; a training step keeps it on the device. It counts as a constant of the gradients that are taken.

    >>> count = Parameter(1.0, name="count")
    >>> assign(count, count + 1)
    Tensor(2., float32)
    >>> count
    Parameter(count: float32[])
    """
    builder = innermost([parameter, value])
    own = parameter.parameter if isinstance(parameter, Sym) else parameter
    if not isinstance(own, Parameter):
        raise DavinciError(
            f"ops.assign: {parameter!r} is no Parameter, or has had a new value since it was read\n"
            "  next: name the Parameter itself, for example ops.assign(self.count, self.count + 1)"
        )
    if builder is None:
        found = Tensor(value, own.dtype) if isinstance(value, (int, float)) else Tensor(value)
        own.set_data(found)
        return found
    new = builder.value(value, own.dtype)
    new = new.astype(own.dtype) if new.weak else new
    if new.type != own.type:
        raise ShapeMismatch(f"parameter {own.name!r} is {own.type}, it cannot hold {new.type}")
    return builder.renew(own, new)
