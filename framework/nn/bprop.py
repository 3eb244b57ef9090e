"""A Cell's own gradient rule: `bprop(self, *args, value, dy)` gives a cotangent per argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from framework.autodiff.custom import custom_vjp


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
    rule.defvjp(ahead, back)
    return rule.emit_call(builder, args, kwargs)
