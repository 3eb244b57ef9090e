"""Bugs as functions: each takes a launch's programs and returns the same with one mistake in one block.

All work on the records that a kernel emitted, so that a bug is exactly what a slip in the kernel's source
would have made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.task import Task
from davinci_sim.core.boxes import BATCH_ROWS, EVERY_PIPE, boxes_of
from davinci_sim.core.order import BARRIER, SET, WAIT
from davinci_sim.core.program import BY_OPCODE, Program
from davinci_sim.core.records import BOX_COLUMNS
from davinci_sim.isa import data_move
from davinci_sim.isa.state import SPACE_SHIFT
from davinci_sim.memory.spaces import Space

Words = npt.NDArray[np.int64]
HAND_OFFS = (SET, WAIT, BARRIER)
MOVE = data_move.instruction
BURST_FIELD = next(n for n, field in enumerate(MOVE.fields) if field.name == "burst_len")


@dataclass(frozen=True)
class Block:
    """The program of one block, and what it allocated."""

    words: Words
    buffers: Words
    task: Task
    index: int

    def mutated(self, words: Words, buffers: Words | None = None) -> Task:
        """Return the task with another program, and perhaps other buffers, in this block."""
        programs, tables = list(self.task.programs), list(self.task.buffers)
        programs[self.index] = Program(words, self.task.programs[self.index].sources)
        tables[self.index] = self.buffers if buffers is None else buffers
        return self.task.with_code(replace(self.task.code, programs=tuple(programs), buffers=tuple(tables)))

    @property
    def ops(self) -> Words:
        """The opcode of every record."""
        return self.words[:, 0] & 255

    @property
    def pipes(self) -> Words:
        """The pipe of every record."""
        return (self.words[:, 0] >> 8) & 255

    def of(self, opcode: int) -> list[int]:
        """Return the records of an instruction."""
        return np.flatnonzero(self.ops == opcode).tolist()

    def data_records(self) -> list[int]:
        """Return the records that touch memory."""
        return np.flatnonzero(~np.isin(self.ops, HAND_OFFS)).tolist()

    def operands(self) -> Iterator[tuple[int, int, int]]:
        """Yield (record, word, alignment) of every memory operand."""
        for record in self.data_records():
            declared = BY_OPCODE[int(self.ops[record])]
            for field, offset in zip(declared.fields, declared.offsets, strict=True):
                if field in declared.operands:
                    yield record, 1 + offset // 8, int(getattr(field, "align_bytes", 1))

    def buffer_of(self, handle: int) -> tuple[int, int, int] | None:
        """Return (start, end, slot bytes) of the buffer that an on-chip handle lies in, as handles."""
        for space, start, nbytes, slots, _ in self.buffers.tolist():
            low = (space << SPACE_SHIFT) | start
            if low <= handle < low + nbytes:
                return low, low + nbytes, nbytes // slots
        return None


Choice = tuple[str, Task]
"""What was done, and the launch with the bug in it."""


def without(words: Words, *records: int) -> Words:
    """Return the records without some of them."""
    return np.delete(words, records, axis=0)


def moved(words: Words, record: int, to: int) -> Words:
    """Return the records with one of them before the one that is `to` now."""
    taken = words[record : record + 1]
    rest = np.delete(words, record, axis=0)
    place = to if to < record else to - 1
    return np.concatenate([rest[:place], taken, rest[place:]])


def with_value(words: Words, record: int, word: int, value: int) -> Words:
    """Return the records with one word replaced."""
    changed = words.copy()
    changed[record, word] = value
    return changed


def missing_set(block: Block) -> Iterator[Choice]:
    """Leave out a set_flag."""
    for record in block.of(SET):
        yield f"set_flag {record} left out", block.mutated(without(block.words, record))


def missing_wait(block: Block) -> Iterator[Choice]:
    """Leave out a wait_flag."""
    for record in block.of(WAIT):
        yield f"wait_flag {record} left out", block.mutated(without(block.words, record))


def pairs(block: Block) -> Iterator[tuple[int, int]]:
    """Yield every set_flag with its wait_flag."""
    flags = block.words[:, 1] & 0xFFFFFF
    for flag in np.unique(flags[np.isin(block.ops, (SET, WAIT))]):
        sets = np.flatnonzero((flags == flag) & (block.ops == SET))
        waits = np.flatnonzero((flags == flag) & (block.ops == WAIT))
        yield from zip(sets.tolist(), waits.tolist(), strict=True)


def missing_pair(block: Block) -> Iterator[Choice]:
    """Leave out a set_flag and its wait_flag."""
    for first, second in pairs(block):
        yield f"hand-off {first}, {second} left out", block.mutated(without(block.words, first, second))


def set_too_early(block: Block) -> Iterator[Choice]:
    """Set a flag before the instruction that it is to tell about."""
    for record in block.of(SET):
        same = [r for r in block.data_records() if r < record and block.pipes[r] == block.pipes[record]]
        if same:
            yield f"set_flag {record} before {same[-1]}", block.mutated(moved(block.words, record, same[-1]))


def wait_too_late(block: Block) -> Iterator[Choice]:
    """Wait for a flag behind the instruction that needs it."""
    for record in block.of(WAIT):
        same = [r for r in block.data_records() if r > record and block.pipes[r] == block.pipes[record]]
        if same:
            yield (
                f"wait_flag {record} behind {same[0]}",
                block.mutated(moved(block.words, record, same[0] + 1)),
            )


def wrong_event(block: Block) -> Iterator[Choice]:
    """Use another event id in a set_flag or wait_flag."""
    for record in sorted(block.of(SET) + block.of(WAIT)):
        word = int(block.words[record, 1])
        event = (word >> 16 & 255) ^ 1
        changed = with_value(block.words, record, 1, (word & ~0xFF0000) | event << 16)
        yield f"event id {event} in record {record}", block.mutated(changed)


def wrong_slot(block: Block) -> Iterator[Choice]:
    """Use the other slot of a buffer in one operand."""
    for record, word, _ in block.operands():
        handle = int(block.words[record, word])
        buffer = block.buffer_of(handle) if handle >> SPACE_SHIFT else None
        if buffer is None or buffer[2] == buffer[1] - buffer[0]:
            continue
        slots, slot = (buffer[1] - buffer[0]) // buffer[2], (handle - buffer[0]) // buffer[2]
        other = handle + ((slot + 1) % slots - slot) * buffer[2]
        changed = with_value(block.words, record, word, other)
        yield f"operand {word} of record {record} in another slot", block.mutated(changed)


def overlapped(block: Block) -> Iterator[Choice]:
    """Let a buffer begin inside the one before it, for all instructions that use it."""
    for number, (space, start, nbytes, _, _) in enumerate(block.buffers.tolist()):
        before = [row for row in block.buffers.tolist() if row[0] == space and row[1] + row[2] <= start]
        if not before:
            continue
        neighbour = max(before, key=lambda row: row[1])
        shift = start - (neighbour[1] + neighbour[2] // 2 // 1024 * 1024)  # in the middle, or where it begins
        low, changed = (space << SPACE_SHIFT) | start, block.words.copy()
        for record, word, _ in block.operands():
            if low <= block.words[record, word] < low + nbytes:
                changed[record, word] -= shift
        buffers = block.buffers.copy()
        buffers[number, 1] -= shift
        yield f"buffer {number} moved {shift} bytes down", block.mutated(changed, buffers)


def copy_too_long(block: Block) -> Iterator[Choice]:
    """Let a move go on for one block of 32 bytes."""
    offset = MOVE.offsets[BURST_FIELD]
    word, shift = 1 + offset // 8, 8 * (offset % 8)
    for record in block.of(MOVE.opcode):
        longer = int(block.words[record, word]) + (1 << shift)
        yield f"move {record} one block longer", block.mutated(with_value(block.words, record, word, longer))


def ends_of(block: Block, record: int) -> dict[int, int]:
    """Return, for each handle that a record starts a range at, where the range ends."""
    rows = np.empty((BATCH_ROWS, BOX_COLUMNS), dtype=np.int64)
    _, count = boxes_of(block.words, record, record + 1, EVERY_PIPE, rows)
    ends: dict[int, int] = {}
    for _, _, handle, run, inner, inner_stride, outer, outer_stride in rows[:count].tolist():
        end = handle + run + (inner - 1) * inner_stride + (outer - 1) * outer_stride
        ends[handle] = max(ends.get(handle, 0), end)
    return ends


def outside_buffer(block: Block) -> Iterator[Choice]:
    """Let an operand reach over the end of its buffer."""
    for record, word, align in block.operands():
        handle = int(block.words[record, word])
        buffer, end = block.buffer_of(handle), ends_of(block, record).get(handle)
        if handle >> SPACE_SHIFT == Space.GM or buffer is None or end is None:
            continue
        shifted = handle + -(-(buffer[1] - end + 1) // align) * align
        changed = with_value(block.words, record, word, shifted)
        yield f"operand {word} of record {record} over the end of its buffer", block.mutated(changed)


def outside_tensor(block: Block) -> Iterator[Choice]:
    """Let a move reach over the end of its tensor in GM, and of what the chip allocated for it."""
    for record, word, _ in block.operands():
        handle = int(block.words[record, word])
        if handle >> SPACE_SHIFT != Space.GM:
            continue
        tensor = next((t for t in block.task.tensors if t.start <= handle < t.start + t.nbytes), None)
        end = ends_of(block, record).get(handle)
        if tensor is None or end is None:
            continue
        changed = with_value(
            block.words, record, word, handle + tensor.start + tensor.nbytes + 512 - end + 32
        )
        yield f"operand {word} of record {record} over the end of {tensor.name}", block.mutated(changed)


def misaligned(block: Block) -> Iterator[Choice]:
    """Let an operand begin beside its alignment."""
    for record, word, align in block.operands():
        handle = int(block.words[record, word])
        if handle >> SPACE_SHIFT != Space.GM and align > 1:
            changed = with_value(block.words, record, word, handle + align // 2)
            yield f"operand {word} of record {record} misaligned", block.mutated(changed)


def missing_copy(block: Block) -> Iterator[Choice]:
    """Leave out a move."""
    for record in block.data_records():
        name = BY_OPCODE[int(block.ops[record])].name
        if name in {"data_move", "load2d", "load3d", "l0c_to_ub", "broadcast_ub_to_l0c"}:
            yield f"{name} {record} left out", block.mutated(without(block.words, record))


CLASSES: dict[str, Callable[[Block], Iterator[Choice]]] = {
    "missing set_flag": missing_set,
    "missing wait_flag": missing_wait,
    "missing pair": missing_pair,
    "set too early": set_too_early,
    "wait too late": wait_too_late,
    "wrong event id": wrong_event,
    "wrong ping-pong slot": wrong_slot,
    "overlapped buffers": overlapped,
    "copy too long": copy_too_long,
    "out of bounds, on chip": outside_buffer,
    "out of bounds, GM": outside_tensor,
    "misaligned": misaligned,
    "missing copy": missing_copy,
}
SYNCHRONISATION = tuple(CLASSES)[:6]
"""The classes of which every bug must be caught."""
