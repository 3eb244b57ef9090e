"""Gradients that a Cell chooses: a rule of its own, or to be computed again instead of being kept.

`bprop(self, *args, value, dy)` gives a cotangent per argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from framework.autodiff.custom import custom_vjp, recompute
from framework.frontend.trace import place_of
from framework.ops.op import GradientError


def with_bprop(cell: Any, builder: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Emit a call of a Cell that brings its gradient rule along."""

    def construct(*args: Any) -> Any:
        return cell.construct(*args)

    def ahead(*args: Any) -> Any:
        value = cell.construct(*args)
        return value, (args, value)

    def back(kept: Any, dy: Any) -> Any:
        args, value = kept
        return cell.bprop(*args, value, dy)

    construct.__name__ = type(cell).__name__
    rule = custom_vjp(construct)
    rule.written = ("bprop", cell.bprop)
    rule.defvjp(ahead, back)
    _check_arguments(cell, len(args))
    return rule.emit_call(builder, args, kwargs)


def with_recompute(cell: Any, builder: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Emit a call of a Cell whose gradient computes it again."""
    return recompute(cell.construct).emit_call(builder, args, kwargs)


def _check_arguments(cell: Any, count: int) -> None:
    """Refuse a `bprop` that does not take the arguments of `construct`, the value and the cotangent."""
    try:
        inspect.signature(cell.bprop).bind(*[None] * (count + 2))
    except TypeError as mistake:
        raise GradientError(
            f"gradient rule of {type(cell).__name__}: its `bprop` is given {count + 2} arguments: {mistake}\n"
            "  next: bprop(self, *args, value, dy), where args are those of construct" + place_of(cell.bprop)
        ) from None
