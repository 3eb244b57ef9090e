"""What executing and timing an instruction needs: the memories of a core and the costs of a platform."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.jit import inner, jit
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_SHIFT


class Memory(NamedTuple):
    """Device memory and the on-chip memory of one core, as views of the same bytes.

    `gm` is the device memory. The on-chip spaces lie one after another in `local`; `base[space]` is where
    each begins, `size[space]` how long it is. `f32` and `i32` and `u16` look at `local` through other types.
    """

    gm: npt.NDArray[np.uint8]
    local: npt.NDArray[np.uint8]
    u16: npt.NDArray[np.uint16]
    i32: npt.NDArray[np.int32]
    f32: npt.NDArray[np.float32]
    base: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]


class Costs(NamedTuple):
    """The cycle figures of a platform that instructions ask for; units end the names."""

    cube: npt.NDArray[np.int64]  # [dtype, 4]: m, k, n of one product and its cycles; zeros for no product
    mmad_head_cycles: int
    mmad_l0c_conflict: int  # 1: odd fractal counts cost a cycle per further k fractal
    load2d_l0a_bytes_per_cycle: int
    load2d_l0a_head_cycles: int
    load2d_l0b_bytes_per_cycle: int
    load2d_l0b_head_cycles: int
    load3d_head_cycles: int
    load3d_min_cycles: int
    load3d_cycles_per_fractal_per_stride: int
    l1_to_ub_bytes_per_cycle: int
    ub_to_l1_bytes_per_cycle: int
    l0c_to_ub_bytes_per_cycle: int
    ub_to_ub_bytes_per_cycle: int
    gm_read_head_cycles: int  # into L0A and L0B
    gm_to_l1_head_cycles: int
    gm_to_ub_head_cycles: int
    gm_write_head_cycles: int
    gm_packet_slot_bytes: int
    gm_fast_align_bytes: int
    gm_unaligned_percent: int
    gm_atomic_percent: int
    gm_to_l1_bytes_per_cycle: int
    gm_to_ub_bytes_per_cycle: int
    gm_to_l0_bytes_per_cycle: int
    ub_to_gm_bytes_per_cycle: int
    vector_min_cycles: int
    ub_bank_groups: int
    ub_banks: int
    ub_bank_bytes: int
    vector_cycles: npt.NDArray[np.int64]  # [opcode, dtype], cycles per repeat
    drain_cycles: npt.NDArray[np.int64]  # [pipe]: from the end of the unit's work to the result


class Transfer(NamedTuple):
    """What a move takes through the memory that all cores share: a range of GM and the bytes of bus time.

    `runs` runs of `run_bytes` begin `stride_bytes` apart at `address`; `bus_bytes` is 0 for a move that
    stays inside the core.
    """

    address: int
    run_bytes: int
    runs: int
    stride_bytes: int
    bus_bytes: int
    is_write: int


@jit
def end_of(transfer: Transfer) -> int:
    """Return the address behind the last byte of a transfer."""
    return int(transfer.address + max(0, transfer.runs - 1) * transfer.stride_bytes + transfer.run_bytes)


@inner
def at(memory: Memory, handle: int) -> int:
    """Return where a handle's byte lies in `memory.local`."""
    return int(memory.base[handle >> SPACE_SHIFT]) + (handle & ADDRESS_MASK)


@inner
def ceil_div(value: int, by: int) -> int:
    """Return value / by, rounded up."""
    return (value + by - 1) // by


@inner
def copy(target: npt.NDArray[Any], to: int, source: npt.NDArray[Any], start: int, count: int) -> None:
    """Copy `count` elements; a source that overlaps its target arrives as it was."""
    out, first = np.uint64(to), np.uint64(start)  # unsigned: Numba adds no test for negative indices
    if start < to < start + count:  # perhaps in the same memory: from the end
        for index in range(count - 1, -1, -1):
            target[to + index] = source[start + index]
    else:
        for index in range(np.uint64(count)):
            target[out + index] = source[first + index]


@inner
def transpose(target: npt.NDArray[Any], to: int, pitch: int, tile: npt.NDArray[Any], start: int) -> None:
    """Write the transpose of a tile of 16 x 16; target rows are `pitch` apart and share nothing with it."""
    for row in range(np.uint64(16)):
        first, column = np.uint64(to) + row * np.uint64(pitch), np.uint64(start) + row
        for lane in range(np.uint64(16)):
            target[first + lane] = tile[column + lane * np.uint64(16)]
