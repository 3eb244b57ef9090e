"""The on-chip buffers of a block under the names that the kernel gives them."""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.state import SPACE_SHIFT
from davinci_sim.memory.spaces import Space
from kernels.lang import rewrite


@dataclass(frozen=True)
class Held:
    """A buffer: `nbytes` of a space from `start`, in `slots` equal parts, allocated in the line `source`."""

    name: str
    space: Space
    start: int
    nbytes: int
    slots: int
    source: str

    @property
    def handle(self) -> int:
        """The handle of its first byte."""
        return int(self.space) << SPACE_SHIFT | self.start

    @property
    def slot_bytes(self) -> int:
        """The bytes of one slot."""
        return self.nbytes // self.slots

    def has(self, handle: int) -> bool:
        """Tell whether a handle points into the buffer."""
        return self.handle <= handle < self.handle + self.nbytes

    def slot_of(self, handle: int) -> int:
        """Return the slot that a handle points into."""
        return min((handle - self.handle) // self.slot_bytes, self.slots - 1)

    def __str__(self) -> str:
        """Print as `ub_x@UB+0x0, 8192 bytes, 2 slots (my_kernel.py:12)`."""
        slots = f", {self.slots} slots" if self.slots > 1 else ""
        return f"{self.name}@{self.space.name}+{self.start:#x}, {self.nbytes} bytes{slots} ({self.source})"


def held_by(buffers: npt.NDArray[np.int64]) -> dict[str, Held]:
    """Return the buffers of a block, rows of space, start, nbytes, slots and location, by their names.

    A name is that of the variable that `alloc` was assigned to. Where a line allocates again, the second is
    called `name#2`. A buffer that a building block of the language has allocated is called by its space and
    number, as `UB0`.
    """
    found: dict[str, Held] = {}
    times: Counter[str] = Counter()
    numbers: Counter[int] = Counter()
    for location, group in groupby(buffers.tolist(), key=lambda row: row[4]):
        rows = list(group)
        for (space, start, nbytes, slots, _), name in zip(rows, _names(location, len(rows)), strict=True):
            plain = name or f"{Space(space).name}{numbers[space]}"
            numbers[space] += 1
            times[plain] += 1
            unique = plain if times[plain] == 1 else f"{plain}#{times[plain]}"
            source = rewrite.source_text(location)
            found[unique] = Held(unique, Space(space), start, nbytes, max(1, slots), source)
    return found


def _names(location: int, count: int) -> Iterator[str]:
    """Yield the variables to which a line assigns what it allocates, for `count` buffers; "" for none."""
    known = rewrite.SOURCES.get(location >> 16 & 0xFFFF)
    path = Path(known[1]) if known else Path()
    names = _assigned(path, path.stat().st_mtime_ns).get(location & 0xFFFF, ()) if path.is_file() else ()
    if names and count % len(names):  # an empty buffer was left out: which one is not known
        names = (" or ".join(names),)
    for number in range(count):
        yield names[number % len(names)] if names else ""


@lru_cache(maxsize=64)
def _assigned(path: Path, _changed: int) -> dict[int, tuple[str, ...]]:
    """Return, by line of a file, the variables that a statement assigns results of `alloc` to."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign):
            pairs = _pairs(node.targets[0], node.value)
            names = tuple(ast.unparse(target) for target, value in pairs if _allocates(value))
            if names:
                found[node.lineno] = names
    return found


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Return which part of an assignment gets which value."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=False))
    return [(target, value)]


def _allocates(value: ast.expr) -> bool:
    calls = (node.func for node in ast.walk(value) if isinstance(node, ast.Call))
    return any(isinstance(callee, ast.Name) and callee.id == "alloc" for callee in calls)
