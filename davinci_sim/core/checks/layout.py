"""Which bytes a launch may touch: buffers on chip, tensors in GM, and where their shadow cells lie."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.core.checks.batches import (
    IS_FILLED,
    IS_UNKNOWN,
    IS_WRITTEN,
    R_CELL,
    R_END,
    R_FLAGS,
    R_HIGH,
    R_LOW,
    R_TAIL,
    RANGE_COLUMNS,
)
from davinci_sim.core.checks.shadow import BLOCK_BYTES
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_COUNT, SPACE_SHIFT

Ints = npt.NDArray[np.int64]


def _up(value: int, unit: int = BLOCK_BYTES) -> int:
    return -(-value // unit) * unit


@dataclass(frozen=True)
class Ranges:
    """Ranges of handles in ascending order, `table[range, 6]`, and how to find out what each is called."""

    table: Ints
    names: tuple[Callable[[], str], ...]

    def joined(self, other: "Ranges") -> "Ranges":
        """Return both, in ascending order."""
        table, names = np.concatenate([self.table, other.table]), self.names + other.names
        order = np.lexsort((table[:, R_HIGH], table[:, R_LOW]))
        return Ranges(table[order], tuple(names[index] for index in order))

    def name_of(self, handle: int) -> str:
        """Return what a byte belongs to, or an empty string."""
        inside = (self.table[:, R_LOW] <= handle) & (handle < self.table[:, R_TAIL])
        found = np.flatnonzero(inside)
        return self.names[int(found[-1])]() if found.size else ""

    def overlaps(self) -> list[tuple[int, int, tuple[str, str]]]:
        """Return the handles that two neighbouring ranges share, and the names of both."""
        low, high = self.table[:, R_LOW], self.table[:, R_HIGH]
        shared, widest = [], 0
        for index in range(1, len(low)):
            if high[index - 1] > high[widest]:
                widest = index - 1
            if low[index] < high[widest]:
                end = int(min(high[index], high[widest]))
                shared.append((int(low[index]), end, (self.names[widest](), self.names[index]())))
        return shared


def cells_of(sizes: Ints) -> tuple[Ints, int]:
    """Return the first shadow cell of every on-chip space, and how many cells they take."""
    cells, total = np.zeros(SPACE_COUNT, dtype=np.int64), 0
    for space in range(1, SPACE_COUNT):
        cells[space] = total
        total += _up(int(sizes[space])) // BLOCK_BYTES
    return cells, total


def _slot_name(name_at: Callable[[int], str], location: int, slot: int | None) -> str:
    return name_at(location) + ("" if slot is None else f" slot {slot}")


def local_ranges(rows: Ints | None, sizes: Ints, cells: Ints, name_at: Callable[[int], str]) -> Ranges:
    """Return the buffers of a block, each slot by itself; whole spaces where no buffers are known."""
    if rows is None:
        whole = [(space, 0, size, 1, 0) for space, size in enumerate(sizes.tolist()) if space and size]
        rows = np.array(whole, dtype=np.int64).reshape(-1, 5)
    table: list[tuple[int, ...]] = []
    names: list[Callable[[], str]] = []
    for space, start, nbytes, slots, location in rows.tolist():
        size = nbytes // slots
        for slot in range(slots):
            base = (space << SPACE_SHIFT) | start
            low, high = base + slot * size, base + (nbytes if slot == slots - 1 else (slot + 1) * size)
            table.append((low, high, high, ADDRESS_MASK, cells[space], IS_WRITTEN))
            names.append(functools.partial(_slot_name, name_at, location, slot if slots > 1 else None))
    return Ranges(np.array(table, dtype=np.int64).reshape(-1, RANGE_COLUMNS), tuple(names))


def tensor_ranges(tensors: Sequence[Any], first_cell: int) -> tuple[Ranges, int]:
    """Return the operands in GM and the number of all shadow cells; operands that share bytes are one range.

    Writes may fill the last block of 32 bytes. A read moves whole blocks from anywhere in the tensor, so that
    its last block may begin in the last byte; it may also read the padding that the operand declares.
    Only what the kernel writes has cells: a range that nobody writes cannot race. Without tensors nothing is
    known of GM.
    """
    if not tensors:
        anything = (0, ADDRESS_MASK, ADDRESS_MASK, ADDRESS_MASK, 0, IS_UNKNOWN)
        return Ranges(np.array([anything], dtype=np.int64), (str,)), first_cell
    groups: list[list[Any]] = []
    end = -1
    for tensor in sorted((t for t in tensors if t.nbytes > 0), key=lambda t: (t.start, t.nbytes)):
        if groups and tensor.start < end:
            groups[-1].append(tensor)
        else:
            groups.append([tensor])
        end = max(end, tensor.start + tensor.nbytes)
    table: list[Ints] = []
    names: list[Callable[[], str]] = []
    cell = first_cell
    for group in groups:
        low, high = group[0].start, max(t.start + t.nbytes for t in group)
        is_written = any(t.is_output for t in group)
        is_filled = any(not t.is_output for t in group)
        first_block = low // BLOCK_BYTES
        padded = max(t.start + t.nbytes + t.padding_bytes for t in group)
        tail = max(high + BLOCK_BYTES - 1, padded)
        row = np.zeros(RANGE_COLUMNS, dtype=np.int64)
        row[R_LOW], row[R_HIGH], row[R_TAIL], row[R_END] = low, _up(high), tail, high
        row[R_CELL] = cell - first_block
        row[R_FLAGS] = IS_WRITTEN * is_written | IS_FILLED * is_filled
        table.append(row)
        names.append("/".join(dict.fromkeys(t.name for t in group)).__str__)
        if is_written:
            cell += _up(tail) // BLOCK_BYTES - first_block
    return Ranges(np.array(table, dtype=np.int64).reshape(-1, RANGE_COLUMNS), tuple(names)), cell


@functools.cache
def instruction_tables() -> tuple[Ints, Ints, Ints]:
    """Return, by opcode, the words and alignments of operands, and the field that asks for an atomic add."""
    count = len(INSTRUCTIONS) + 1
    most = 1 + max(len(declared.operands) for declared in INSTRUCTIONS.values())
    words, aligns = np.zeros((count, most), dtype=np.int64), np.ones((count, most), dtype=np.int64)
    atomic = np.zeros((count, 3), dtype=np.int64)
    for declared in INSTRUCTIONS.values():
        number = 0
        for field, offset in zip(declared.fields, declared.offsets, strict=True):
            if field in declared.operands:
                words[declared.opcode, number] = 1 + offset // 8
                aligns[declared.opcode, number] = max(1, getattr(field, "align_bytes", 1))
                number += 1
            if field.name == "atomic":
                mask = (1 << 8 * field.width_bytes) - 1
                atomic[declared.opcode] = (1 + offset // 8, 8 * (offset % 8), mask)
    return words, aligns, atomic
