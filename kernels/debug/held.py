"""The on-chip buffers of a block under the names that the kernel gives them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.state import SPACE_SHIFT
from davinci_sim.memory.spaces import Space
from kernels.debug.names import targets
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


def held_by(buffers: npt.NDArray[np.int64], names: Sequence[str] = ()) -> dict[str, Held]:
    """Return the buffers of a block, rows of space, start, nbytes, slots and location, by their names.

    `names` are those of `names_of`; without them a name is taken from the line that allocated. A buffer
    without a name is called by its space and number, as `UB0`; a second one of a name is called `name#2`.
    """
    found: dict[str, Held] = {}
    times: Counter[str] = Counter()
    numbers: Counter[int] = Counter()
    given = names if len(names) == len(buffers) else _by_lines(buffers)
    for (space, start, nbytes, slots, location), name in zip(buffers.tolist(), given, strict=True):
        plain = name or f"{Space(space).name}{numbers[space]}"
        numbers[space] += 1
        times[plain] += 1
        unique = plain if times[plain] == 1 else f"{plain}#{times[plain]}"
        source = rewrite.source_text(location)
        found[unique] = Held(unique, Space(space), start, nbytes, max(1, slots), source)
    return found


def _by_lines(buffers: npt.NDArray[np.int64]) -> list[str]:
    """Return the variables to which the lines of buffers assign what they allocate; "" for none."""
    made: list[str] = []
    for location, group in groupby(buffers[:, 4].tolist()):
        count = len(list(group))
        known = rewrite.SOURCES.get(location >> 16 & 0xFFFF)
        names = targets(Path(known[1]), location & 0xFFFF) if known else ()
        if names and count % len(names):  # an empty buffer was left out: which one is not known
            names = (" or ".join(names),)
        made += [names[number % len(names)] if names else "" for number in range(count)]
    return made
