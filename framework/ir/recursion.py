"""Which Funcs call themselves."""

from __future__ import annotations

from framework.ir.nodes import Binding, Func, Rec


class Recursion:
    """Which Funcs around a Func are meant inside of it."""

    def mentions(self, func: Func) -> frozenset[str]:
        """Return the names of the Funcs around that are meant in a Func; its own is among them if it is."""
        return func.mentions

    def free(self, func: Func) -> frozenset[str]:
        """Return the names of the Funcs around, itself aside, that are meant in a Func."""
        return func.mentions - {func.name}

    def is_recursive(self, func: Func) -> bool:
        """Tell whether a Func is called, at whatever depth, inside of itself."""
        return func.name in func.mentions


def calls_itself(func: Func) -> bool:
    """Tell whether a Func is called, at whatever depth, inside of itself."""
    return Recursion().is_recursive(func)


def calls_around(binding: Binding) -> set[str]:
    """Return the names of the Funcs around a binding that it, or what it holds, calls."""
    recursion = Recursion()
    found = {each.name for each in binding.attrs.values() if isinstance(each, Rec)}
    return found.union(*map(recursion.free, binding.funcs.values()))
