"""What a composition is: where it is looked for, and what it becomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from framework.ir.nodes import Atom, Binding
from framework.passes.compositions.view import View


@dataclass(frozen=True)
class Match:
    """Bindings that compute what others did, from these inputs, and make the values `ends` in their place."""

    inputs: tuple[Atom, ...]
    bindings: tuple[Binding, ...]
    ends: tuple[Atom, ...]


Matcher = Callable[[View, Binding], Match | None]
"""Returns what a formula becomes that ends with a binding, or None where it is another formula."""


@dataclass(frozen=True)
class Composition:
    """A formula that has an operator of its own.

    It is looked for in Funcs that have the op `anchor`, at bindings of the ops `ends`.
    """

    name: str
    about: str
    before: str
    after: str
    anchor: tuple[str, ...]
    ends: tuple[str, ...]
    match: Matcher

    def may_be_in(self, ops: set[str]) -> bool:
        """Tell whether a Func with these ops may have the formula."""
        return not ops.isdisjoint(self.anchor) and not ops.isdisjoint(self.ends)

    def text(self) -> str:
        """Print the name, what it is, and the Func before and after."""
        return f"{self.name}: {self.about}\n  before  {self.before}\n  after   {self.after}"


def found(view: View, end: Binding, op: str, inputs: Sequence[Atom], **attrs: bool | float) -> Match | None:
    """Return the match of one operator whose first output is what the formula made."""
    made = view.make(op, inputs, attrs, end.outputs)
    return None if made is None else Match(tuple(inputs), (made,), end.outputs)


def plain(number: float, dtype: str) -> float:
    """Return the number of fewest digits that is this one in a dtype, as somebody wrote it.

    >>> plain(0.8999999761581421, "float32")
    0.9
    """
    narrow = {"float16": np.float16, "float32": np.float32}.get(dtype, float)
    return float(str(narrow(number)))


def dtype_of(binding: Binding) -> str:
    """Return the name of the dtype of a binding's first output."""
    return binding.outputs[0].tensor.dtype.name
