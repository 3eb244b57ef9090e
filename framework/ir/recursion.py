"""Which Funcs call themselves."""

from __future__ import annotations

from framework.ir.nodes import Binding, Func, Rec


class Recursion:
    """Which Funcs around a Func are meant inside of it; each answer is worked out once."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self._mentions: dict[int, tuple[Func, frozenset[str]]] = {}

    def mentions(self, func: Func) -> frozenset[str]:
        """Return the names of the Funcs around that are meant in a Func; its own is among them if it is."""
        if id(func) not in self._mentions:
            found: set[str] = set()
            for binding in func.bindings:
                for each in binding.attrs.values():
                    if isinstance(each, Rec):
                        found.add(each.name)
                    elif isinstance(each, Func):
                        found |= self.free(each)
            self._mentions[id(func)] = (func, frozenset(found))
        return self._mentions[id(func)][1]

    def free(self, func: Func) -> frozenset[str]:
        """Return the names of the Funcs around, itself aside, that are meant in a Func."""
        return self.mentions(func) - {func.name}

    def is_recursive(self, func: Func) -> bool:
        """Tell whether a Func is called, at whatever depth, inside of itself."""
        return func.name in self.mentions(func)


def calls_itself(func: Func) -> bool:
    """Tell whether a Func is called, at whatever depth, inside of itself."""
    return Recursion().is_recursive(func)


def calls_around(binding: Binding) -> set[str]:
    """Return the names of the Funcs around a binding that it, or what it holds, calls."""
    recursion = Recursion()
    found = {each.name for each in binding.attrs.values() if isinstance(each, Rec)}
    return found.union(*map(recursion.free, binding.funcs.values()))
