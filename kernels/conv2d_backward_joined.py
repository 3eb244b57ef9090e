"""Gradients of convolutions to their inputs, with what follows them in a network with residuals and relu.

Where a map forks, its gradients are added; where it is a result of relu, the gradient counts where that is
positive. Both are done while the sums leave the cube: they are rounded once, and pass through memory once.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.conv2d import gradient_to_input, weight_layout
from kernels.lang import FP16, Operand, barrier, emits, fill, filled, kernel, output
from kernels.pieces.convolution import (
    Step,
    Tensors,
    begin_tile,
    chunks_of,
    close_pipeline,
    end_tile,
    fetch_next,
    multiply,
    open_pipeline,
    start,
)
from kernels.pieces.convolution_gradient import gradient_by_phases
from kernels.pieces.convolution_joined import (
    NOTHING,
    bring_joined,
    close_joined,
    open_joined,
    store_joined,
)
from kernels.pieces.convolution_plan import (
    backward_plan,
    dense_parts,
    first_part,
    last_part,
    tile_fractals,
    weights_of,
)
from kernels.tiling.conv2d_joined import JoinedTiling
from kernels.tiling.conv2d_shape import AddedShape, JoinedShape, KeptShape

Array = npt.NDArray[Any]


def joined_reference(shape: Any, dy: Array, w: Array, *others: Array) -> tuple[Array]:
    """Return dx, to which r is added in float32 and of which counts what lies where y is positive."""
    dx = gradient_to_input(shape, dy, w)
    if shape.ADDS:
        dx = dx + others[0].astype(np.float32)
    if shape.KEEPS:
        dx = np.where(others[-1] > 0, dx, 0)
    return (dx.astype(np.float16),)


def _operands(shape: JoinedShape) -> tuple[Operand, ...]:
    x = (shape.n, shape.c, shape.h, shape.w)
    names = ("r",) * shape.ADDS + ("y",) * shape.KEEPS
    return (
        Operand("dy", (shape.n, shape.o, shape.oh, shape.ow), FP16, "NC1HWC0"),
        Operand("w", (shape.o, shape.c // shape.groups, shape.kh, shape.kw), FP16, weight_layout(shape)),
        *(Operand(name, x, FP16, "NC1HWC0") for name in names),
        output("dx", x, FP16, "NC1HWC0"),
    )


def _macs(shape: JoinedShape) -> int:
    return shape.macs


class Joining(NamedTuple):
    """What joins a gradient, in GM: another gradient, and the map that decides; -1 for none."""

    added: int
    kept: int


@emits
def joined_tiles(core: Any, p: Any, t: Any, b: Any, z: Any) -> None:
    """Compute this core's share of a dense gradient of stride 1."""
    start(core, p, t, b)
    for tile in range(p.first, p.last):
        begin_tile(core, p, t, b, tile)
        for n in range(p.n_start, p.n_end, p.n0):
            for m in range(0, tile_fractals(core, p, tile), p.m0):
                bring_joined(core, p, b, z, Step(tile, n, m, 0))
                slot = fill(core, b.qc)
                for chunk in range(chunks_of(core, p)):
                    fetch_next(core, p, t, b, Step(tile, n, m, chunk))
                    multiply(core, p, b, Step(tile, n, m, chunk), slot, 0)
                filled(core, b.qc)
                store_joined(core, p, t, b, z, Step(tile, n, m, 0))
        end_tile(core, p, b, tile)


@emits
def joined_gradient(core: Any, t: Tensors, joining: Joining, shape: Any, tiling: Any) -> None:
    """Compute this core's share of a gradient, one dense convolution after the other."""
    share, plan = dense_parts(core, shape), backward_plan(core, shape, tiling, 0)
    b = open_pipeline(core, plan)
    z = open_joined(core, plan, b, joining.added, joining.kept)
    cores = tiling.tile_cores * tiling.channel_cores
    first = first_part(core, share, cores, tiling.group_cores)
    for part in range(first, last_part(core, share, cores, tiling.group_cores)):
        if part > first:
            barrier(core)  # what lies in L1 is not used any more
        p = backward_plan(core, shape, tiling, part)
        own = Tensors(t.source, weights_of(core, shape, share, t.weights, part), t.result)
        if p.phases > 1:
            gradient_by_phases(core, p, own, b, z)
        else:
            joined_tiles(core, p, own, b, z)
    close_joined(core, z)
    close_pipeline(core, b)


@kernel(AddedShape, JoinedTiling, _operands, joined_reference, macs=_macs)
def conv2d_backward_input_add(core: Any, dy: int, w: int, r: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n, c, h, w] = r[n, c, h, w] + what conv2d_backward_input gives, rounded once."""
    joined_gradient(core, Tensors(dy, w, dx), Joining(r, NOTHING), shape, tiling)


@kernel(KeptShape, JoinedTiling, _operands, joined_reference, macs=_macs)
def conv2d_backward_input_relu_grad(
    core: Any, dy: int, w: int, y: int, dx: int, shape: Any, tiling: Any
) -> None:
    """dx[n, c, h, w] = what conv2d_backward_input gives where y[n, c, h, w] > 0, else 0."""
    joined_gradient(core, Tensors(dy, w, dx), Joining(NOTHING, y), shape, tiling)


@kernel(JoinedShape, JoinedTiling, _operands, joined_reference, macs=_macs)
def conv2d_backward_input_add_relu_grad(
    core: Any, dy: int, w: int, r: int, y: int, dx: int, shape: Any, tiling: Any
) -> None:
    """dx[n, c, h, w] = r[n, c, h, w] + conv2d_backward_input where y[n, c, h, w] > 0, else 0."""
    joined_gradient(core, Tensors(dy, w, dx), Joining(r, y), shape, tiling)
