"""The loops of a gradient to the input whose forward convolution has a stride: phases of rows in UB.

The weights of a column of result groups come to L1 before its first step. A step that needs what is not in L1
fetches it itself, not ahead: steps follow each other by phases, and a phase may have none.
"""

from typing import Any

from kernels.lang.convolution import (
    Buffers,
    Step,
    Tensors,
    chunks_of,
    fetch_chunk,
    fetch_tile,
    multiply,
    place_weights,
    weight_place,
)
from kernels.lang.convolution_plan import Plan, phase_plan, tile_fractals
from kernels.lang.convolution_store import open_rows, spread, write_rows
from kernels.lang.emits import emits
from kernels.lang.queues import fill, filled, free, use


@emits
def fetch_column(core: Any, p: Plan, t: Tensors, b: Buffers, n: int) -> None:
    """Bring the weights of n0 result groups to L1, where they stay."""
    if p.streams == 0 and n < p.n_end:
        fill(core, b.qw)
        for chunk in range(chunks_of(core, p)):
            s = Step(p.first, n, 0, chunk)
            place_weights(core, p, t, weight_place(core, p, b, s, 0), s)
        filled(core, b.qw)


@emits
def take_column(core: Any, p: Plan, b: Buffers) -> None:
    """Wait for the weights of n0 result groups."""
    if p.streams == 0:
        use(core, b.qw)
        free(core, b.qw)


@emits
def fetch_here(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step) -> None:
    """Bring what passes through L1 for a step."""
    if p.map_groups < p.groups:
        fetch_chunk(core, p, t, b, s)
    if p.streams:
        place_weights(core, p, t, weight_place(core, p, b, s, fill(core, b.qw)), s)
        filled(core, b.qw)


@emits
def multiply_phase(core: Any, p: Plan, t: Tensors, b: Buffers, tile: int, n: int) -> None:
    """Compute one phase of a tile and n0 result groups; its results go to the rows in UB."""
    for m in range(0, tile_fractals(core, p, tile), p.m0):
        slot = fill(core, b.qc)
        for chunk in range(chunks_of(core, p)):
            fetch_here(core, p, t, b, Step(tile, n, m, chunk))
            multiply(core, p, b, Step(tile, n, m, chunk), slot, 0)
        filled(core, b.qc)
        spread(core, p, b, Step(tile, n, m, 0))


@emits
def gradient_by_phases(core: Any, p: Plan, t: Tensors, b: Buffers) -> None:
    """Compute this core's share of dx, all phases of a tile and n0 result groups before the next ones."""
    if p.first < p.last:
        fetch_column(core, p, t, b, p.n_start)
    fetch_tile(core, p, t, b, p.first)
    for tile in range(p.first, p.last):
        fetch_tile(core, p, t, b, tile + 1)
        if p.map_groups == p.groups:
            use(core, b.qx)
        for n in range(p.n_start, p.n_end, p.n0):
            if tile == p.first:
                take_column(core, p, b)
                fetch_column(core, p, t, b, n + p.n0)
            open_rows(core, p, b, Step(tile, n, 0, 0))
            for phase in range(p.phases * p.phases):
                multiply_phase(core, phase_plan(core, p, phase), t, b, tile, n)
            write_rows(core, p, t, b, Step(tile, n, 0, 0))
        if p.map_groups == p.groups:
            free(core, b.qx)
