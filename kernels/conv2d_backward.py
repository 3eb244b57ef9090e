"""The gradient of a convolution to its filter: dw = dy^T @ im2col(x), summed over positions and images.

Each split of the images is stored as a part of its own, so that cores that share the images need not wait for
each other.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.memory.dtypes import F16
from davinci_sim.memory.layout import LAYOUTS
from kernels.conv2d import map_operand, padded_groups, weight_layout
from kernels.lang import FP16, FP32, Operand, fill, filled, kernel, output
from kernels.pieces.convolution_filter import (
    clear_padding,
    close_filter_pipeline,
    fetch_turn,
    filter_plan,
    multiply_turn,
    open_filter_pipeline,
    store_sums,
    turn_at,
    turns_of,
)
from kernels.pieces.convolution_plan import dense_parts, first_part, last_part
from kernels.tiling.conv2d_filter import FilterShape, FilterTiling

Array = npt.NDArray[Any]


def conv2d_backward_filter_reference(shape: Any, x: Array, dy: Array) -> tuple[Array]:
    """Return dw_parts[splits, c1*kh*kw, o1, 16, 16] float32: FRACTAL_Z of the sum over a split's images."""
    s, d, g, padded = shape.stride, shape.dilation, shape.groups, padded_groups(shape, x)
    wide = dy.astype(np.float32).reshape(shape.n, g, shape.o // g, shape.oh, shape.ow)
    parts = []
    for split in range(shape.splits):
        images = slice(shape.n * split // shape.splits, shape.n * (split + 1) // shape.splits)
        dw = np.zeros((g, shape.o // g, shape.c // g, shape.kh, shape.kw), np.float32)
        for i in range(shape.kh):
            for j in range(shape.kw):
                seen = padded[images, ..., i * d :: s, j * d :: s][..., : shape.oh, : shape.ow]
                dw[..., i, j] = np.einsum("ngohw,ngchw->goc", wide[images], seen, optimize=True)
        parts.append(LAYOUTS[weight_layout(shape)].pack(dw.reshape(shape.o, *dw.shape[2:])))
    return (np.stack(parts),)


def _operands(shape: FilterShape) -> tuple[Operand, ...]:
    weights = (shape.o, shape.c // shape.groups, shape.kh, shape.kw)
    packed = LAYOUTS[weight_layout(shape)].device_shape(weights, F16)
    return (
        map_operand(shape),
        Operand("dy", (shape.n, shape.o, shape.oh, shape.ow), FP16, "NC1HWC0"),
        output("dw_parts", (shape.splits, *packed), FP32),
    )


def _macs(shape: FilterShape) -> int:
    return shape.macs


@kernel(FilterShape, FilterTiling, _operands, conv2d_backward_filter_reference, macs=_macs)
def conv2d_backward_filter(core: Any, x: int, dy: int, dw_parts: int, shape: Any, tiling: Any) -> None:
    """dw_parts[s, (c1 kh kw), o1, 16, 16] = sum over split s, oh, ow of dy[n, o, oh, ow] * x[n, c, ...]."""
    share = dense_parts(core, shape)
    b = open_filter_pipeline(core, filter_plan(core, shape, tiling, 0), x, dy, dw_parts)
    cores, shares = tiling.split_cores * tiling.filter_cores * tiling.channel_cores, tiling.group_cores
    for part in range(first_part(core, share, cores, shares), last_part(core, share, cores, shares)):
        p = filter_plan(core, shape, tiling, part)
        for split in range(p.first_split, p.last_split):
            clear_padding(core, p, b, split)
            steps = turns_of(core, p, split)
            slot = 0
            if steps > 0:
                fetch_turn(core, p, b, turn_at(core, p, split, 0))
            for step in range(steps):
                turn = turn_at(core, p, split, step)
                if step + 1 < steps:
                    fetch_turn(core, p, b, turn_at(core, p, split, step + 1))
                is_first = step % turn.tiles == 0
                if is_first:
                    slot = fill(core, b.qc)
                multiply_turn(core, p, b, turn, slot, is_first)
                if (step + 1) % turn.tiles == 0:
                    filled(core, b.qc)
                    store_sums(core, p, b, turn)
    close_filter_pipeline(core, b)
