"""The table of operators that the IR names; `framework.ops` fills it at import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from davinci_sim.errors import unknown
from framework.ir.nodes import Attrs
from framework.ir.types import TensorType


class Operator(Protocol):
    """What the IR asks of an operator."""

    @property
    def name(self) -> str:
        """Return the name that bindings use."""
        ...

    @property
    def vjp(self) -> Any:
        """Return the gradient rule."""
        ...

    @property
    def batch(self) -> Any:
        """Return the rule for inputs in batches, None where lanes are computed one by one."""
        ...

    @property
    def checked(self) -> int | None:
        """Return the first of the inputs that may be refused when the operator runs, None without such."""
        ...

    @property
    def meets(self) -> bool:
        """Tell whether the operator is computed together with other ranks."""
        ...

    @property
    def lowering(self) -> Any:
        """Return how the operator runs on the device, None when it does not."""
        ...

    def infer_types(self, types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
        """Return the types of the outputs, or raise when the inputs do not fit."""
        ...

    def run(self, arrays: Sequence[np.ndarray[Any, Any]], attrs: Attrs) -> tuple[np.ndarray[Any, Any], ...]:
        """Return the outputs, computed in NumPy."""
        ...

    def __call__(self, *args: Any, **attrs: Any) -> Any:
        """Apply the operator to tensors or to symbolic values."""
        ...


OPERATORS: dict[str, Operator] = {}


def operator(name: str) -> Operator:
    """Return the operator of this name."""
    if name not in OPERATORS:
        raise unknown("operator", name, tuple(OPERATORS))
    return OPERATORS[name]
