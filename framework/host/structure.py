"""What the source of a Func needs to know before it is written: which Funcs recur, when values die."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from framework.ir.nodes import Atom, Attr, Binding, Func, Rec, Var
from framework.ir.types import TensorType, Type

Around = Mapping[str, "Target"]


@dataclass(frozen=True)
class Target:
    """A Func that a `Rec` inside of it may mean: with the Funcs around it, and the label of its `def`."""

    func: Func
    around: Around
    label: str


class Recursion:
    """Finds which names of enclosing Funcs a Func uses; looks into each Func once."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._used: dict[int, frozenset[str]] = {}
        self._seen: list[Func] = []  # keeps Funcs alive: they are known by identity

    def used(self, func: Func) -> frozenset[str]:
        """Return the names that stand as `Rec` in the body, its own among them."""
        if id(func) not in self._used:
            found: set[str] = set()
            for binding in func.bindings:
                found |= self._in_binding(binding)
            self._used[id(func)] = frozenset(found)
            self._seen.append(func)
        return self._used[id(func)]

    def free(self, func: Func) -> frozenset[str]:
        """Return the names of Funcs around it that the Func calls."""
        return self.used(func) - {func.name}

    def is_recursive(self, func: Func) -> bool:
        """Tell whether something inside of the Func means the Func."""
        return func.name in self.used(func)

    def _in_binding(self, binding: Binding) -> set[str]:
        found: set[str] = set()
        for value in binding.attrs.values():
            if isinstance(value, Rec):
                found.add(value.name)
            elif isinstance(value, Func):
                found |= self.free(value)
        return found


def resolve(attr: Attr, around: Around) -> tuple[Func, Around]:
    """Return the Func that an attribute means, and what stands around that."""
    if isinstance(attr, Rec):
        target = around[attr.name]
        return target.func, target.around
    assert isinstance(attr, Func)
    return attr, around


def is_light(type_: Type) -> bool:
    """Tell whether a value takes next to no memory, so that nobody needs to drop it."""
    return isinstance(type_, TensorType) and not type_.shape


def last_uses(bindings: Sequence[Binding], results: Sequence[Atom]) -> list[list[str]]:
    """Return for each binding the names of the values that nothing after it uses; results are used."""
    alive = {atom.name for atom in results if isinstance(atom, Var)}
    dying: list[list[str]] = []
    for binding in reversed(bindings):
        names = {
            var.name
            for var in (*binding.inputs, *binding.outputs)
            if isinstance(var, Var) and var.name not in alive and not is_light(var.type)
        }
        alive |= names
        dying.append(sorted(names))
    dying.reverse()
    return dying
