"""A task: one launch of a kernel over its blocks."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.core.order import legal_order
from davinci_sim.core.program import Program


@dataclass(frozen=True)
class Tensor:
    """An operand in GM: `nbytes` from address `start`, and `padding_bytes` behind them that may be read."""

    name: str
    start: int
    nbytes: int
    is_output: bool = False
    padding_bytes: int = 0


@dataclass(frozen=True, eq=False)
class Code:
    """What the blocks of a task run: a program each.

    `buffers[b]` is what block b has allocated on chip (rows of space, start, nbytes, slots, location), and
    `queues[b]` its queues (rows of src, dst, slots, first event id there and back).
    """

    programs: tuple[Program, ...]
    buffers: tuple[npt.NDArray[np.int64], ...] = ()
    queues: tuple[npt.NDArray[np.int64], ...] = ()

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Where the records of each block begin in `words`, and behind the last where all end."""
        return np.cumsum([0, *map(len, self.programs)])

    @cached_property
    def words(self) -> npt.NDArray[np.int64]:
        """The records of all blocks one after another, those of a block in a legal order of execution.

        Raises:
            Deadlock: a program waits for a flag that nobody sets.
            IllegalInstruction: a flag is set twice without a wait, or never waited for.
        """
        ordered = [program.words[legal_order(program)] for program in self.programs]
        return np.concatenate(ordered) if ordered else np.empty((0, 8), dtype=np.int64)


@dataclass(eq=False)
class Task:
    """One launch: what its time depends on, and the code of its blocks, emitted when it is asked for.

    `key` identifies everything that the time depends on (kernel, tiling, shapes, types); tasks with equal
    keys take the same time. `source` is a digest of what else the code is made from; where it is empty,
    nothing is known of that, and the time is not kept on disk. `tensors` says where operands lie in GM.

    What `emit` returns lives for as long as somebody uses it: a network of thousands of tasks takes the room
    of one at a time, and a task whose time is remembered is never emitted.
    """

    name: str
    key: tuple[Any, ...]
    block_dim: int
    emit: Callable[[], Code]
    stream: int = 0
    operands: dict[str, int] = field(default_factory=dict)
    tensors: tuple[Tensor, ...] = ()
    source: str = ""
    _latest: weakref.ref[Code] | None = field(default=None, init=False, repr=False)

    @staticmethod
    def of(
        name: str, key: tuple[Any, ...], code: Code, operands: dict[str, int] | None = None,
        tensors: tuple[Tensor, ...] = (),
    ) -> Task:  # fmt: skip
        """Return a task that has its code and keeps it."""
        return Task(name, key, len(code.programs), lambda: code, 0, dict(operands or {}), tensors)

    def at_once(self) -> Task:
        """Return the same task, emitted now, that keeps its code."""
        code = self.code
        return replace(self, emit=lambda: code)

    def with_code(self, code: Code) -> Task:
        """Return the task with other code, of which no source is known."""
        return replace(self, block_dim=len(code.programs), emit=lambda: code, source="")

    @property
    def code(self) -> Code:
        """The code; who needs more than one thing of it keeps it meanwhile."""
        found = self._latest() if self._latest is not None else None
        if found is None:
            found = self.emit()
            self._latest = weakref.ref(found)
        return found

    @property
    def programs(self) -> tuple[Program, ...]:
        """The program of each block."""
        return self.code.programs

    @property
    def words(self) -> npt.NDArray[np.int64]:
        """The records of all blocks in a legal order of execution."""
        return self.code.words

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Where the records of each block begin in `words`."""
        return self.code.offsets

    @property
    def buffers(self) -> tuple[npt.NDArray[np.int64], ...]:
        """What each block has allocated on chip."""
        return self.code.buffers

    @property
    def queues(self) -> tuple[npt.NDArray[np.int64], ...]:
        """The queues of each block."""
        return self.code.queues

    @property
    def instructions(self) -> int:
        """How many records all blocks have together."""
        return int(self.offsets[-1])
