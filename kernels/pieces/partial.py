"""Partial sums of an array that depend neither on the number of cores nor on the tiles.

The array is cut into PARTS equal parts of whole UNITs, a core sums whole parts, and of each it writes LANES
numbers: those of the elements whose index in the part leaves the same remainder. Whoever needs the total adds
the PARTS * LANES numbers, always in the same order.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP32, data_move, vcadd, vector_dup
from kernels.lang.buffers import UB, alloc, share_end, share_start
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, MUL, flat_binary, flat_scale
from kernels.lang.queues import MTE3, V, close, fill, filled, free, queue, use
from kernels.pieces.fold import fold
from kernels.pieces.update import UNIT

PARTS, LANES = 64, 8
NUMBERS = PARTS * LANES
BLOCK, LINE, WIDTH = 32, 256, 64


class Sums(NamedTuple):
    """Sums that grow: `arrays` lines of 64 lanes in room for all parts, and the hand-off of their results."""

    q: int
    lines: int
    arrays: int


@emits
def open_sums(core: Any, arrays: int) -> Any:
    """Make room for the sums of one or two arrays."""
    lines = alloc(core, UB, NUMBERS * 4)
    return Sums(queue(core, V, MTE3, 1), lines, arrays)


@emits
def part_length(core: Any, n: int) -> int:
    """Return the elements of a part."""
    return int(((n + PARTS - 1) // PARTS + UNIT - 1) // UNIT * UNIT)


@emits
def part_start(core: Any, n: int, part: int) -> int:
    """Return the first element of a part; that of the part behind the last is n."""
    return int(min(n, part * part_length(core, n)))


@emits
def parts_used(core: Any, n: int) -> int:
    """Return how many parts have elements."""
    length = part_length(core, n)
    return int((n + length - 1) // length)


@emits
def part_from(core: Any, n: int) -> int:
    """Return the first part of this block."""
    return int(share_start(core, parts_used(core, n), 1))


@emits
def part_until(core: Any, n: int) -> int:
    """Return the part behind the last one of this block."""
    return int(share_end(core, parts_used(core, n), 1))


@emits
def clear_sums(core: Any, sums: Any) -> None:
    """Begin a part: all sums are zero."""
    fill(core, sums.q)
    vector_dup(core, sums.lines, sums.arrays, 0.0, FP32, WIDTH)


@emits
def add_lanes(core: Any, sums: Any, index: int, x: int, n: int) -> None:
    """Add x[n] in UB to the lanes of a sum; n may end anywhere, but only once in a part."""
    line = sums.lines + index * LINE
    fold(core, ADD, line, x, n // WIDTH, WIDTH, 0, 8)
    if n % WIDTH > 0:
        fold(core, ADD, line, x + n // WIDTH * LINE, 1, n % WIDTH, 0, 8)


@emits
def add_squares(core: Any, sums: Any, index: int, x: int, spare: int, n: int) -> None:
    """Add the squares of x[n] in UB to a sum; `spare` is room for n numbers."""
    flat_binary(core, MUL, spare, x, x, n, FP32)
    add_lanes(core, sums, index, spare, n)


@emits
def add_nothing(core: Any, sums: Any, index: int, x: int, spare: int, n: int) -> None:
    """Add 0 * x[n]: nothing, or NaN where x is infinite or NaN."""
    flat_scale(core, spare, x, n, 0.0, 0.0, FP32)
    add_lanes(core, sums, index, spare, n)


@emits
def to_eight_lanes(core: Any, line: int) -> None:
    """Fold 64 lanes to eight."""
    for lanes in (32, 16, 8):
        fold(core, ADD, line, line + lanes * 4, 1, lanes, 8, 8)


@emits
def put_sums(core: Any, sums: Any, part: int, first: int, second: int) -> None:
    """End a part: write the eight numbers of each sum to their place in GM (the second array may lack)."""
    for index in range(sums.arrays):
        to_eight_lanes(core, sums.lines + index * LINE)
    filled(core, sums.q)
    use(core, sums.q)
    data_move(core, first + part * BLOCK, sums.lines, 1, 1)
    if sums.arrays > 1:
        data_move(core, second + part * BLOCK, sums.lines + LINE, 1, 1)
    free(core, sums.q)


@emits
def put_zeros(core: Any, sums: Any, n: int, first: int, second: int) -> None:
    """Let the last block write zeros for the parts without elements (the second array may lack)."""
    used = parts_used(core, n)
    if used == PARTS or part_until(core, n) != used:
        return
    fill(core, sums.q)
    vector_dup(core, sums.lines, NUMBERS // WIDTH, 0.0, FP32, WIDTH)
    filled(core, sums.q)
    use(core, sums.q)
    data_move(core, first + used * BLOCK, sums.lines, 1, PARTS - used)
    if sums.arrays > 1:
        data_move(core, second + used * BLOCK, sums.lines, 1, PARTS - used)
    free(core, sums.q)


@emits
def close_sums(core: Any, sums: Any) -> None:
    """Give the room of the sums back."""
    close(core, sums.q)


@emits
def total(core: Any, dst: int, x: int) -> None:
    """Write the sum of the NUMBERS partial sums x in UB to the head of the block dst; x is used up."""
    fold(core, ADD, x, x + LINE, NUMBERS // WIDTH - 1, WIDTH, 0, 8)
    to_eight_lanes(core, x)
    vcadd(core, dst, x, 1, FP32, LANES)
