"""Which Funcs call themselves."""

from __future__ import annotations

from framework.ir.nodes import Binding, Func, Rec


def calls_itself(func: Func) -> bool:
    """Tell whether a Func is called, at whatever depth, inside of itself."""
    return any(func.name in calls_around(binding) for binding in func.bindings)


def calls_around(binding: Binding) -> set[str]:
    """Return the names of the Funcs around a binding that it, or what it holds, calls."""
    found = {each.name for each in binding.attrs.values() if isinstance(each, Rec)}
    for func in binding.funcs.values():
        for each in func.bindings:
            found |= calls_around(each) - {func.name}
    return found
