"""Columns of fractals of an NZ matrix, between GM, where other rows lie between them, and a buffer."""

from typing import Any

from davinci_sim.isa import data_move
from kernels.lang.emits import emits

BLOCK, MAX_GAP = 32, 65535


@emits
def load_columns(core: Any, dst: int, src: int, columns: int, rows: int, all_rows: int) -> None:
    """Bring `rows` of the `all_rows` blocks of 32 bytes of each column to a buffer, one behind the other.

    A row of 16 numbers is a block in fp16, and two in fp32.
    """
    if all_rows - rows <= MAX_GAP:
        data_move(core, dst, src, columns, rows, all_rows - rows)
        return
    for column in range(columns):
        data_move(core, dst + column * rows * BLOCK, src + column * all_rows * BLOCK, 1, rows)


@emits
def store_columns(core: Any, dst: int, src: int, columns: int, rows: int, all_rows: int) -> None:
    """Write `rows` blocks of 32 bytes of each column, one behind the other; in GM it has `all_rows`."""
    if all_rows - rows <= MAX_GAP:
        data_move(core, dst, src, columns, rows, 0, all_rows - rows)
        return
    for column in range(columns):
        data_move(core, dst + column * all_rows * BLOCK, src + column * rows * BLOCK, 1, rows)
