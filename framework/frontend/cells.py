"""What of a Cell the code of its `construct` depends on: cells that are alike in it share one Func."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from framework.frontend.templates import Held, known, parts_of
from framework.frontend.values import is_cell
from framework.tensor import Parameter

Key = tuple[Hashable, tuple[Parameter, ...]]


class CellKeys:
    """The keys of the Cells of one compilation, each made once: nothing changes a Cell meanwhile."""

    def __init__(self) -> None:
        """Start without Cells."""
        self._keys: dict[int, tuple[Any, Key]] = {}

    def of(self, cell: Any) -> Key:
        """Return what tells a Cell from others, with numbers for its Parameters, and these, each once."""
        if id(cell) not in self._keys:
            walk = _Walk()
            self._keys[id(cell)] = (cell, (walk.key(cell), tuple(walk.parameters.values())))
        return self._keys[id(cell)][1]


class _Walk:
    """Goes through a Cell and what it holds."""

    def __init__(self) -> None:
        self.parameters: dict[int, Parameter] = {}
        self._places: dict[int, int] = {}
        self._seen: dict[int, int] = {}

    def key(self, value: Any) -> Hashable:
        if isinstance(value, Parameter):
            self.parameters.setdefault(id(value), value)
            place = self._places.setdefault(id(value), len(self._places))
            return ("parameter", place, value.type, value.requires_grad)
        if is_cell(value):
            if id(value) in self._seen:
                return ("again", self._seen[id(value)])
            self._seen[id(value)] = len(self._seen)
            attributes = tuple((name, self.key(each)) for name, each in vars(value).items())
            return ("cell", type(value), attributes)
        parts = parts_of(value)
        if parts is not None and parts[0] != "transform":
            kind, static, children = parts
            return (kind, static, tuple(self.key(each) for each in children))
        return known(value) if value is not None else Held(None)
