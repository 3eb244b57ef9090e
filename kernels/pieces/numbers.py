"""Single numbers from GM, each spread over a full block of UB, so that it can meet any number of lanes.

Sixteen numbers at most are spread together. Each comes as the head of a block; a transposition puts their
lower and upper half words into two blocks, which are repeated alternately and transposed back.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP32, UINT16, data_move, vadds, vmuls, vor
from kernels.lang.buffers import UB, alloc
from kernels.lang.emits import emits
from kernels.lang.queues import MTE2, V, close, fill, filled, free, queue, use
from kernels.pieces.transpose import transpose_16bit

BLOCK, EDGE, FRACTAL = 32, 16, 512


class Numbers(NamedTuple):
    """Where numbers lie in UB: number i fills block i of `full`; block i of `rest` is for 1 - number i."""

    q: int
    raw: int
    halves: int
    full: int
    rest: int


@emits
def open_numbers(core: Any) -> Any:
    """Make room for sixteen numbers; `bring_number` may follow."""
    q = queue(core, MTE2, V, 1)
    raw, halves = alloc(core, UB, FRACTAL), alloc(core, UB, 2 * FRACTAL)
    full, rest = alloc(core, UB, FRACTAL), alloc(core, UB, FRACTAL)
    fill(core, q)
    return Numbers(q, raw, halves, full, rest)


@emits
def bring_number(core: Any, numbers: Any, index: int, gm: int) -> None:
    """Fetch number `index` of fp32 from GM."""
    data_move(core, numbers.raw + index * BLOCK, gm, 1, 1)


@emits
def take_numbers(core: Any, numbers: Any) -> None:
    """Wait for the numbers that have been asked for; after this the vector unit may write further ones."""
    filled(core, numbers.q)
    use(core, numbers.q)


@emits
def number_place(core: Any, numbers: Any, index: int) -> int:
    """Return the block at whose head number `index` is wanted."""
    return int(numbers.raw + index * BLOCK)


@emits
def spread_numbers(core: Any, numbers: Any) -> None:
    """Fill a block with each number that is there."""
    columns, rows = numbers.halves, numbers.halves + FRACTAL
    transpose_16bit(core, columns, 1, EDGE, numbers.raw, 1, EDGE, 1)  # rows: all lower halves, all upper ones
    vor(core, rows, columns, columns, 8, UINT16, 2 * EDGE, 1, 1, 1, 2, 0, 0)  # both, eight times
    transpose_16bit(core, numbers.full, 1, EDGE, rows, 1, EDGE, 1)


@emits
def complement_numbers(core: Any, numbers: Any) -> None:
    """Compute 1 - number for all numbers that have been spread."""
    vmuls(core, numbers.rest, numbers.full, 2, -1.0, FP32, 64)
    vadds(core, numbers.rest, numbers.rest, 2, 1.0, FP32, 64)


@emits
def close_numbers(core: Any, numbers: Any) -> None:
    """Give the room of the numbers back."""
    free(core, numbers.q)
    close(core, numbers.q)


@emits
def full_block(core: Any, numbers: Any, index: int) -> int:
    """Return the block that number `index` fills."""
    return int(numbers.full + index * BLOCK)


@emits
def rest_block(core: Any, numbers: Any, index: int) -> int:
    """Return the block that 1 - number `index` fills."""
    return int(numbers.rest + index * BLOCK)
