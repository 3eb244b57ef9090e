"""The loops of a gradient to the input whose forward convolution has a stride: phases of rows in UB.

Weights that stay in L1 come with the first phase of their result groups that sees any, in chunks, as does
the first tile of the map. A step that needs what passes through L1 fetches it itself, not ahead: steps follow
each other by phases, and a phase may have none.
"""

from typing import Any, NamedTuple

from kernels.lang.emits import emits
from kernels.lang.queues import fill, filled, free, use
from kernels.pieces.convolution import (
    Buffers,
    Step,
    Tensors,
    chunks_of,
    fetch_chunk,
    fetch_tile,
    multiply,
    place_weights,
    take_placed,
    weight_place,
)
from kernels.pieces.convolution_joined import Joined, bring_rows, leave_rows
from kernels.pieces.convolution_plan import Plan, phase_plan, tile_fractals
from kernels.pieces.convolution_store import open_rows, spread


class Piece(NamedTuple):
    """A piece whose products lie in L0C; tile -1: none."""

    tile: int
    n: int
    phase: int
    m: int


@emits
def fetch_first(core: Any, p: Plan, t: Tensors, b: Buffers, n: int, chunk: int) -> None:
    """Bring a chunk of the weights of n0 result groups, and of the first tile, to L1, where they stay."""
    if n < p.n_end:
        s = Step(p.first, n, 0, chunk)
        if p.map_groups == p.groups:
            fetch_chunk(core, p, t, b, s)
        place_weights(core, p, t, weight_place(core, p, b, s, fill(core, b.qw)), s)
        filled(core, b.qw)


@emits
def take_first(core: Any, p: Plan, t: Tensors, b: Buffers, n: int, chunk: int) -> None:
    """Bring the next chunk ahead; wait for this one."""
    is_last = chunk + 1 == chunks_of(core, p)
    fetch_first(core, p, t, b, n + p.n0 if is_last else n, 0 if is_last else chunk + 1)
    use(core, b.qw)
    free(core, b.qw)
    if n == p.n_start and p.map_groups == p.groups:
        take_placed(core, p, b)


@emits
def fetch_here(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step) -> None:
    """Bring what passes through L1 for a step."""
    if p.map_groups < p.groups:
        fetch_chunk(core, p, t, b, s)
    if p.streams:
        place_weights(core, p, t, weight_place(core, p, b, s, fill(core, b.qw)), s)
        filled(core, b.qw)


@emits
def settle(core: Any, p: Plan, t: Tensors, b: Buffers, z: Joined, before: Piece, s: Step, opens: int) -> None:
    """Bring the piece before to its rows; where `opens`, store those and wait for room for the next ones."""
    if before.tile >= 0:
        spread(core, phase_plan(core, p, before.phase), b, Step(before.tile, before.n, before.m, 0))
        if opens:
            leave_rows(core, p, t, b, z, Step(before.tile, before.n, 0, 0))
    if opens and s.tile >= 0:
        open_rows(core, p, b, s)


@emits
def multiply_piece(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step, waits: int) -> None:
    """Compute one piece of a phase; its first weights are waited for and the next ones brought ahead."""
    slot = fill(core, b.qc)
    for chunk in range(chunks_of(core, p)):
        if waits:
            take_first(core, p, t, b, s.n, chunk)
        fetch_here(core, p, t, b, Step(s.tile, s.n, s.m, chunk))
        multiply(core, p, b, Step(s.tile, s.n, s.m, chunk), slot, 0)
    filled(core, b.qc)


@emits
def phase_at(core: Any, p: Plan, i: int) -> int:
    """Return the i-th phase: first the one that sees most of the filter, so that weights come behind work."""
    row = i // p.phases + p.phases - 1 - (p.filter.top + p.phases - 1) % p.phases
    column = i + p.phases - 1 - (p.filter.left + p.phases - 1) % p.phases
    return int(row % p.phases * p.phases + column % p.phases)


@emits
def multiply_phases(core: Any, p: Plan, t: Tensors, b: Buffers, z: Joined, s: Step, before: Piece) -> Any:
    """Compute all phases of a tile and n0 result groups; return the last piece, yet to be settled."""
    waits, opens = 1 if s.tile == p.first and p.streams == 0 else 0, 1
    tile, n, phase, m = before.tile, before.n, before.phase, before.m
    for i in range(p.phases * p.phases):
        now = phase_at(core, p, i)
        q = phase_plan(core, p, now)
        for first in range(0, tile_fractals(core, q, s.tile), p.m0):
            multiply_piece(core, q, t, b, Step(s.tile, s.n, first, 0), waits)
            settle(core, p, t, b, z, Piece(tile, n, phase, m), s, opens)
            if waits and s.n + p.n0 >= p.n_end:
                fetch_tile(core, p, t, b, s.tile + 1)
            waits, opens = 0, 0
            tile, n, phase, m = s.tile, s.n, now, first
    if waits:  # no phase sees any weights
        for chunk in range(chunks_of(core, p)):
            take_first(core, p, t, b, s.n, chunk)
        if s.n + p.n0 >= p.n_end:
            fetch_tile(core, p, t, b, s.tile + 1)
    if opens:
        settle(core, p, t, b, z, Piece(tile, n, phase, m), s, opens)
        leave_rows(core, p, t, b, z, s)
        tile = -1
    return Piece(tile, n, phase, m)


@emits
def gradient_by_phases(core: Any, p: Plan, t: Tensors, b: Buffers, z: Joined) -> None:
    """Compute this core's share of dx, all phases of a tile and n0 result groups before the next ones."""
    if p.first < p.last:
        if p.streams:
            fetch_tile(core, p, t, b, p.first)
        else:
            fetch_first(core, p, t, b, p.n_start, 0)
    before = Piece(-1, 0, 0, 0)  # settled one piece late: V's many moves must not keep the others waiting
    for tile in range(p.first, p.last):
        waits = tile > p.first or p.streams
        if waits:
            fetch_tile(core, p, t, b, tile + 1)
            if p.map_groups == p.groups:
                use(core, b.qx)
        for n in range(p.n_start, p.n_end, p.n0):
            bring_rows(core, p, z, Step(tile, n, 0, 0))
            before = multiply_phases(core, p, t, b, z, Step(tile, n, 0, 0), before)
        if p.map_groups == p.groups:
            if not waits:
                use(core, b.qx)
            free(core, b.qx)
    settle(core, p, t, b, z, before, Step(-1, 0, 0, 0), 1)
