"""Cells: the building blocks of networks: Parameters, and a `construct` compiled from its source."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from davinci_sim.errors import DavinciError
from framework.dtypes import DType, dtype
from framework.frontend.trace import apply, find_builder
from framework.nn.bprop import with_bprop, with_recompute
from framework.tensor import Parameter


class Cell:
    """A part of a network: subclasses make Parameters and children in `__init__` and compute in `construct`.

    Attributes that are Parameters or Cells are found and named by their path: `fc1.weight`.
    """

    is_native: ClassVar[bool] = False
    """Whether `construct` is run by Python while compiling, instead of being compiled from its source."""

    compute_dtype: DType | None = None
    result_dtype: DType | None = None
    training: bool = False
    """Whether layers that learn statistics take those of the batch; see `set_train`."""

    def __init__(self) -> None:
        """Start without Parameters and children."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let a Cell with `bprop(self, *args, value, dy)` bring its own gradient rule along."""
        super().__init_subclass__(**kwargs)
        if "bprop" in vars(cls):
            cls.emit_call = with_bprop  # type: ignore[attr-defined]

    def construct(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; every Cell defines it."""
        raise DavinciError(f"{type(self).__name__} has no construct method; define construct(self, ...)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute on Tensors, or emit IR in compiled code."""
        builder = find_builder((args, kwargs))
        return self.construct(*args, **kwargs) if builder is None else apply(builder, self, args, kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; Parameters and those of children are named by their path from here."""
        object.__setattr__(self, name, value)
        if isinstance(value, Parameter):
            value.name = value.name or name
        elif isinstance(value, Cell):
            self.rename_parameters()

    def children(self) -> Iterator[tuple[str, Cell]]:
        """Go over the direct children and their names."""
        for name, value in vars(self).items():
            if isinstance(value, Cell):
                yield name, value

    def cells(self) -> Iterator[Cell]:
        """Go over this Cell and all below it, each once."""
        seen: set[int] = set()
        pending: list[Cell] = [self]
        while pending:
            cell = pending.pop(0)
            if id(cell) not in seen:
                seen.add(id(cell))
                yield cell
                pending[:0] = [child for _, child in cell.children()]

    def parameters_and_names(self) -> Iterator[tuple[str, Parameter]]:
        """Go over all Parameters with their paths from this Cell, each once."""
        seen: set[int] = set()
        for name, parameter in self._walk(""):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def rename_parameters(self) -> None:
        """Name every Parameter by its path from this Cell."""
        for name, parameter in self.parameters_and_names():
            parameter.name = name

    def trainable_params(self) -> tuple[Parameter, ...]:
        """Return the Parameters that training changes."""
        return tuple(parameter for _, parameter in self.parameters_and_names() if parameter.requires_grad)

    def to_float(self, compute_dtype: DType | str, result_dtype: DType | str | None = None) -> Self:
        """Let Conv2d, Dense and pooling in this Cell compute in a dtype; Parameters keep theirs.

        Convolutions and dense layers then cast inputs and weights, accumulate in float32 and give results of
        that dtype, or of another one: `to_float("float16", "float32")` leaves to products alone what float16
        there is.
        """
        wanted = None if result_dtype is None else dtype(result_dtype)
        for cell in self.cells():
            object.__setattr__(cell, "compute_dtype", dtype(compute_dtype))
            object.__setattr__(cell, "result_dtype", wanted)
        return self

    def set_train(self, mode: bool = True) -> Self:
        """Let this Cell and all in it compute as in training, or as in use: with the statistics learnt."""
        for cell in self.cells():
            object.__setattr__(cell, "training", mode)
        return self

    def recompute(self) -> Self:
        """Let training keep of this Cell only what it is given: the way back computes it again.

        A step takes less memory and more time. What is computed again has the same bits: random masks are
        made from keys, and Parameters that the Cell assigns are assigned once.

        Raises:
            DavinciError: the Cell has a gradient rule of its own, which says what is kept.
        """
        if hasattr(type(self), "bprop"):
            raise DavinciError(
                f"{type(self).__name__} has a bprop, and is to be recomputed\n"
                "  rule: a gradient rule of its own says what a Cell keeps\n"
                "  next: keep less there, or call recompute() of the Cells around it"
            )
        object.__setattr__(self, "emit_call", functools.partial(with_recompute, self))
        return self

    def _walk(self, prefix: str) -> Iterator[tuple[str, Parameter]]:
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._walk(f"{prefix}{name}.")
