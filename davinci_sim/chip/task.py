"""A task: one launch of a kernel over its blocks."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.core.program import Program


@dataclass(frozen=True)
class Tensor:
    """An operand in GM: `nbytes` from address `start`, and `padding_bytes` behind them that may be read."""

    name: str
    start: int
    nbytes: int
    is_output: bool = False
    padding_bytes: int = 0


@dataclass(frozen=True)
class Task:
    """One launch: a program per block, and what its time depends on.

    `key` identifies everything that the time depends on (kernel, tiling, shapes, types); tasks with equal
    keys take the same time. `words` holds the blocks' programs one after another, block b from
    `offsets[b]` to `offsets[b + 1]`, each in a legal order of execution. `tensors` says where operands lie in
    GM, `buffers[b]` what block b has allocated on chip (rows of space, start, nbytes, slots, location), and
    `queues[b]` its queues (rows of src, dst, slots, first event id there and back).
    """

    name: str
    key: tuple[Any, ...]
    programs: tuple[Program, ...]
    words: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    stream: int = 0
    operands: dict[str, int] = field(default_factory=dict)
    tensors: tuple[Tensor, ...] = ()
    buffers: tuple[npt.NDArray[np.int64], ...] = ()
    queues: tuple[npt.NDArray[np.int64], ...] = ()

    @property
    def block_dim(self) -> int:
        """How many cores take part."""
        return len(self.programs)

    @property
    def instructions(self) -> int:
        """How many records all blocks have together."""
        return int(self.offsets[-1])
