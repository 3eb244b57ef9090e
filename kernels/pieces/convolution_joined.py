"""What joins a gradient to the input on its way out: another gradient of the same map, the mask of relu.

Both lie in GM as the result does. They come to UB while the cube computes the piece that they are for, are
added to the accumulators in fp32, before these are rounded, and then decide which of them are kept.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, l0c_to_ub, vcmpv_gt, vector_dup, vsel
from kernels.lang.buffers import UB, alloc
from kernels.lang.emits import emits
from kernels.lang.flat import flat_convert, flat_dup
from kernels.lang.queues import MTE2, V, close, fill, filled, filling, free, queue, use, using
from kernels.pieces.convolution import ACCUMULATOR, BLOCK, SLOTS, Buffers, Step, Tensors
from kernels.pieces.convolution_mixed import separate
from kernels.pieces.convolution_plan import Plan, tile_fractals
from kernels.pieces.convolution_store import (
    arrange_results,
    mixed_piece,
    move_results,
    move_rows,
    open_results,
    send_results,
    write_rows,
)
from kernels.pieces.fold import ADD_HALF, fold
from kernels.pieces.where import BITS_BYTES, GREATER, Pick, where

NOTHING = -1
LANES, LANES_HALF = 64, 128


class Joined(NamedTuple):
    """What joins in GM, -1 for none, and in UB; room for sums, also arranged; zeros, bits; the queue."""

    added: int
    kept: int
    others: int
    slot: int
    wide: int
    arranged: int
    zero: int
    bits: int
    q: int


@emits
def open_joined(core: Any, p: Plan, b: Buffers, added: int, kept: int) -> Any:
    """Hand out room and open the queue."""
    wide, arranged, zero, bits = 0, 0, 0, 0
    if added >= 0:
        wide = alloc(core, UB, p.m0 * p.n0 * ACCUMULATOR)
        arranged = alloc(core, UB, p.m0 * p.n0 * ACCUMULATOR) if p.mixed else wide
    if kept >= 0:
        zero, bits = alloc(core, UB, BLOCK), alloc(core, UB, BITS_BYTES)
        vector_dup(core, zero, 1, 0.0, FP16, BLOCK // 2)
    slot = b.u_slot * (2 if added >= 0 and kept >= 0 else 1)
    others = alloc(core, UB, SLOTS * slot, SLOTS)
    if (
        p.phases > 1 or p.rows * p.width % 16 != 0 or p.height * p.width % 16 != 0
    ):  # more is computed than comes
        clear_slots(core, others, slot)
        if p.phases > 1 or p.mixed:
            clear_slots(core, b.u, b.u_slot)
        if added >= 0:
            flat_dup(core, arranged, 0.0, p.m0 * p.n0 * ACCUMULATOR // 4, FP32)
    return Joined(added, kept, others, slot, wide, arranged, zero, bits, queue(core, MTE2, V, SLOTS))


@emits
def no_joined(core: Any) -> Any:
    """Return what stands for the room of others where nothing joins."""
    return Joined(NOTHING, NOTHING, 0, 0, 0, 0, 0, 0, NOTHING)


@emits
def clear_slots(core: Any, at: int, slot: int) -> None:
    """Fill the slots of a buffer with zeros."""
    for i in range(SLOTS):
        flat_dup(core, at + i * slot, 0.0, slot // 2, FP16)


@emits
def close_joined(core: Any, z: Joined) -> None:
    """Wait until nothing joins any more."""
    close(core, z.q)


@emits
def bring_joined(core: Any, p: Plan, b: Buffers, z: Joined, s: Step) -> None:
    """Bring what joins one piece of the result to UB."""
    place = z.others + fill(core, z.q) * z.slot
    if z.added >= 0:
        move_results(core, p, z.added, place, s, 1)
    if z.kept >= 0:
        move_results(core, p, z.kept, place + z.slot - b.u_slot, s, 1)
    filled(core, z.q)


@emits
def keep_positive(core: Any, z: Joined, u: int, kept: int, n: int) -> None:
    """Set u[n] to 0 where kept[n] is not above it; what is no whole repeat, by blocks."""
    whole = n // LANES_HALF * LANES_HALF
    where(core, GREATER, u, kept, z.zero, Pick(u, 1, z.zero, 0, z.bits), whole, FP16)
    for at in range(whole * 2, n * 2, BLOCK):
        vcmpv_gt(core, z.bits, kept + at, z.zero, 1, FP16, 0, 0, 0, 0)
        vsel(core, u + at, u + at, z.zero, 1, z.bits, FP16, BLOCK // 2)


@emits
def bring_rows(core: Any, p: Plan, z: Joined, s: Step) -> None:
    """Bring what decides over whole rows to UB, if something does."""
    if z.kept >= 0:
        place = z.others + fill(core, z.q) * z.slot
        move_rows(core, p, z.kept, place, s, 1)
        filled(core, z.q)


@emits
def leave_rows(core: Any, p: Plan, t: Tensors, b: Buffers, z: Joined, s: Step) -> None:
    """Write whole rows of a tile to GM, what is kept of them."""
    if z.kept >= 0:
        kept = z.others + use(core, z.q) * z.slot
        keep_positive(core, z, b.u + filling(core, b.qu) * b.u_slot, kept, b.u_slot // 2)
        free(core, z.q)
    write_rows(core, p, t, b, s)


@emits
def add_sums(core: Any, p: Plan, b: Buffers, z: Joined, s: Step, others: int) -> None:
    """Bring the sums of an output tile to UB in fp32, arranged as they leave; add and round them."""
    columns, fractals = min(p.n0, p.n_end - s.n), min(p.m0, tile_fractals(core, p, s.tile) - s.m)
    u, numbers = b.u + filling(core, b.qu) * b.u_slot, fractals * columns * 256
    l0c_to_ub(core, z.wide, b.c + use(core, b.qc) * b.c_slot, 1, fractals * columns)
    free(core, b.qc)
    if p.mixed:
        separate(core, z.arranged, z.wide, mixed_piece(core, p, s, 2))
    use(core, z.q)
    fold(core, ADD_HALF, z.arranged, others, numbers // LANES, LANES, 8, 4)
    flat_convert(core, u, FP16, z.arranged, FP32, numbers)


@emits
def store_joined(core: Any, p: Plan, t: Tensors, b: Buffers, z: Joined, s: Step) -> None:
    """Bring one output tile from L0C through UB to GM, with what joins it."""
    columns, fractals = min(p.n0, p.n_end - s.n), min(p.m0, tile_fractals(core, p, s.tile) - s.m)
    room, others = open_results(core, p, b), z.others + using(core, z.q) * z.slot
    if z.added >= 0:
        add_sums(core, p, b, z, s, others)
    else:
        l0c_to_ub(core, room, b.c + use(core, b.qc) * b.c_slot, 1, fractals * columns, to_fp16=1)
        free(core, b.qc)
        arrange_results(core, p, b, s)
        use(core, z.q)
    if z.kept >= 0:
        u, kept = b.u + filling(core, b.qu) * b.u_slot, others + z.slot - b.u_slot
        keep_positive(core, z, u, kept, fractals * columns * 256)
    free(core, z.q)
    send_results(core, p, t, b, s)
