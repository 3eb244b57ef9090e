"""Rows of any length between GM, where they follow each other, and UB, where each begins at a block.

A row whose bytes are no multiple of 32 starts anywhere in a block of GM. Every `row_period` rows the start
is aligned again, so that one strided transfer per row of the period fetches them all.
"""

from typing import Any

from davinci_sim.isa import data_move
from kernels.lang.emits import emits
from kernels.pieces.transpose import transpose_16bit

BLOCK, MAX_BURSTS, MAX_GAP = 32, 4095, 65535
COMPACT_LIMIT = 1792
"""Bytes of a period of padded rows up to which `compact` leaves room for anything else in UB."""


@emits
def row_period(core: Any, row_bytes: int) -> int:
    """Return after how many rows a row begins at a block again."""
    return BLOCK // min(BLOCK, row_bytes & -row_bytes)


@emits
def pitch_bytes(core: Any, row_bytes: int) -> int:
    """Return the bytes of a row in whole blocks."""
    return (row_bytes + BLOCK - 1) // BLOCK * BLOCK


@emits
def move_rows(
    core: Any, dst: int, to: int, src: int, stride: int, rows: int, blocks: int, period: int
) -> None:
    """Move `blocks` blocks of every row; rows are `stride` bytes apart in the source and `to` where they go.

    Every `period` rows, both begin at a block.
    """
    if stride == to and blocks * BLOCK == stride:
        data_move(core, dst, src, 1, rows * blocks)
        return
    src_gap, dst_gap = period * stride // BLOCK - blocks, period * to // BLOCK - blocks
    if src_gap > MAX_GAP or dst_gap > MAX_GAP or period >= rows:
        period, src_gap, dst_gap = rows, 0, 0
    for phase in range(period):
        bursts = (rows - phase + period - 1) // period
        for done in range(0, bursts, MAX_BURSTS):
            row = phase + done * period
            count = min(MAX_BURSTS, bursts - done)
            data_move(core, dst + row * to, src + row * stride, count, blocks, src_gap, dst_gap)


@emits
def load_rows(core: Any, dst: int, pitch: int, src: int, stride: int, rows: int, width: int) -> None:
    """Bring `rows` rows of `width` bytes, `stride` bytes apart in GM, to UB, `pitch` bytes apart there.

    Blocks are moved whole: bytes after `width` hold what follows in GM.
    """
    blocks = pitch_bytes(core, width) // BLOCK
    move_rows(core, dst, pitch, src, stride, rows, blocks, row_period(core, stride))


@emits
def compact_scratch_bytes(core: Any, row_bytes: int) -> int:
    """Return the scratch that `compact` needs."""
    period = row_period(core, row_bytes)
    return 16 * period * (pitch_bytes(core, row_bytes) + row_bytes)


@emits
def compact(core: Any, dst: int, src: int, rows: int, row_bytes: int, scratch: int) -> None:
    """Close the gaps between rows in UB: row i of `row_bytes` (even) ends up at dst + i * row_bytes.

    Sixteen runs of a period of rows are transposed, so that half words become blocks, which a move can pack,
    and transposed back. Both buffers are used by whole groups of 16 periods.
    """
    period, pitch = row_period(core, row_bytes), pitch_bytes(core, row_bytes)
    group = 16 * period
    padded, packed = period * pitch // BLOCK, period * row_bytes // BLOCK  # blocks of a run
    columns, kept = scratch, scratch + group * pitch
    for row in range(0, rows, group):
        transpose_16bit(core, columns, 1, 16, src + row * pitch, padded, 1, padded)
        data_move(core, kept, columns, period, row_bytes // 2, (pitch - row_bytes) // 2, 0)
        transpose_16bit(core, dst + row * row_bytes, packed, 1, kept, 1, 16, packed)


@emits
def row_tails(core: Any, dst: int, src: int, pitch: int, rows: int, row_bytes: int, scratch: int) -> None:
    """Gather the last 32 bytes of every row as one block each: block i of dst ends where row i ends.

    Rows have more than one block and no whole number of them. Their last two blocks are transposed and
    16 half words of the 32, up to the end of the row, are transposed back. Works on whole groups of 16
    rows; scratch is 1024 bytes.
    """
    last = row_bytes // BLOCK * BLOCK  # where the partial block begins
    for row in range(0, rows, 16):
        transpose_16bit(core, scratch, 1, 16, src + row * pitch + last - BLOCK, pitch // BLOCK, 1, 2)
        transpose_16bit(core, dst + row * BLOCK, 1, 16, scratch + (row_bytes - last) // 2 * BLOCK, 1, 16, 1)


@emits
def store_blocks(core: Any, dst: int, stride: int, src: int, pitch: int, rows: int, blocks: int) -> None:
    """Write `blocks` blocks of every row to GM, rows `stride` bytes apart there, `pitch` in UB."""
    move_rows(core, dst, stride, src, pitch, rows, blocks, row_period(core, stride))


@emits
def store_exact(
    core: Any, dst: int, stride: int, src: int, pitch: int, rows: int, row_bytes: int, tails: int
) -> None:  # fmt: skip
    """Write rows of `row_bytes` to GM and not a byte more; `tails` is what `row_tails` gathered."""
    store_blocks(core, dst, stride, src, pitch, rows, row_bytes // BLOCK)
    if row_bytes % BLOCK != 0:
        store_blocks(core, dst + row_bytes - BLOCK, stride, tails, BLOCK, rows, 1)
