"""Transpositions and broadcasts inside UB, built on the vector unit's 16 x 16 transposition of half words.

Four-byte numbers pass three times: columns of half words become rows, the rows of equal halves are gathered
per number, and the halves are interleaved again. Addresses are bytes, strides blocks of 32 bytes.
"""

from typing import Any

from davinci_sim.isa import FP16, vnchwconv
from kernels.lang.emits import emits
from kernels.lang.flat import MAX_REPEAT

BLOCK = 32


@emits
def transpose_16bit(
    core: Any, dst: int, dst_row: int, dst_step: int, src: int, src_row: int, src_step: int, tiles: int
) -> None:
    """Transpose 16 x 16 two-byte numbers; tiles lie `*_step` blocks apart, their rows `*_row` blocks."""
    for done in range(0, tiles, MAX_REPEAT):
        repeat = min(MAX_REPEAT, tiles - done)
        to, start = dst + done * dst_step * BLOCK, src + done * src_step * BLOCK
        vnchwconv(core, to, start, repeat, FP16, dst_row, src_row, dst_step, src_step)


@emits
def transpose_32bit(
    core: Any, dst: int, src: int, src_row: int, src_step: int, tiles: int, scratch: int
) -> None:
    """Transpose tiles of 16 x 16 four-byte numbers, two blocks a row; the results follow each other.

    Scratch is 2048 bytes a tile.
    """
    columns, halves = scratch, scratch + tiles * 1024
    for block in range(2):  # [row][8 x (lo, hi)] -> [8 x (lo, hi)][row]
        transpose_16bit(core, columns + block * 512, 1, 32, src + block * BLOCK, src_row, src_step, tiles)
    for half in range(2):  # [column][half][row] -> [row][half][column]
        transpose_16bit(core, halves + half * BLOCK, 2, 32, columns + half * BLOCK, 2, 32, tiles)
    for block in range(2):  # [8 rows x half][column] -> [column][8 rows x (lo, hi)]
        transpose_16bit(core, dst + block * BLOCK, 2, 32, halves + block * 512, 1, 32, tiles)


@emits
def spread(core: Any, dst: int, src: int, n: int, size: int, scratch: int) -> None:
    """Fill block i of dst with copies of element i of src; blocks come by sixteens.

    Scratch is 2048 bytes per 16 elements when `size` is 4, unused when it is 2.
    """
    tiles = (n + 15) // 16
    if size == 2:
        transpose_16bit(core, dst, 1, 16, src, 0, 1, tiles)
        return
    columns, halves = scratch, scratch + tiles * 1024
    for block in range(2):  # sixteen equal rows: every column of half words is constant
        transpose_16bit(core, columns + block * 512, 1, 32, src + block * BLOCK, 0, 2, tiles)
    for half in range(2):
        transpose_16bit(core, halves + half * BLOCK, 2, 32, columns + half * BLOCK, 2, 32, tiles)
    transpose_16bit(core, dst, 1, 16, halves, 1, 32, tiles)
