"""Small launches of every shipped kernel: odd lengths, several types, several tilings."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

import kernels
from davinci_sim.isa.fields import FP16, FP32, INT32
from davinci_sim.platforms import Platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.run import Arrays, random_inputs

Keys = dict[str, int]
FLAT = tuple({"n": n, "dtype": t} for n in (37, 5000, 40960) for t in (FP16, FP32))
BINARY = (
    {"n": 37}, {"n": 9000}, {"n": 9000, "dtype": FP32}, {"n": 9000, "pattern": 1},
    {"n": 40 * 10, "rows": 40, "pattern": 2}, {"n": 9 * 1001, "rows": 9, "pattern": 3},
    {"n": 9 * 1001, "rows": 9, "pattern": 2, "dtype": FP32}, {"n": 3000, "rows": 300, "pattern": 3},
    {"n": 600 * 160, "rows": 600, "pattern": 2},
)  # fmt: skip
MATRIX = tuple(
    {"m": m, "n": n, "dtype": t} for m, n in ((17, 17), (40, 1001), (300, 7), (64, 128)) for t in (FP16, FP32)
)
REDUCED = tuple(
    {"m": m, "n": n, "axis": axis, "dtype": t}
    for m, n in ((17, 1234), (200, 70), (500, 3))
    for axis in (0, 1)
    for t in (FP16, FP32)
)
IMAGE = tuple(
    {"n": n, "c": c, "h": h, "w": w, "dtype": t}
    for n, c, h, w in ((1, 3, 9, 7), (2, 20, 14, 14), (1, 64, 7, 7))
    for t in (FP16, FP32)
)
PRODUCT = (
    {"m": 16, "k": 16, "n": 16}, {"m": 100, "k": 70, "n": 50}, {"m": 256, "k": 300, "n": 128},
    {"m": 33, "k": 64, "n": 1001, "trans_b": 1}, {"m": 65, "k": 129, "n": 17, "trans_a": 1, "b": 2},
    {"m": 40, "k": 50, "n": 60, "dtype": FP32, "out_dtype": FP32},
    {"m": 130, "k": 512, "n": 90, "trans_a": 1, "trans_b": 1, "out_dtype": FP32},
)  # fmt: skip
CONVOLUTION = (
    {"n": 1, "c": 3, "h": 12, "w": 12, "o": 20, "kh": 3, "kw": 3, "stride": 1, "pad": 1},
    {"n": 2, "c": 32, "h": 14, "w": 14, "o": 48, "kh": 1, "kw": 1, "stride": 2, "pad": 0},
    {"n": 1, "c": 64, "h": 28, "w": 28, "o": 64, "kh": 3, "kw": 3, "stride": 2, "pad": 1},
    {"n": 2, "c": 16, "h": 20, "w": 20, "o": 16, "kh": 5, "kw": 5, "stride": 1, "pad": 2, "dilation": 2},
    {"n": 4, "c": 128, "h": 10, "w": 10, "o": 130, "kh": 3, "kw": 3, "stride": 1, "pad": 0},
)
POOL = tuple(
    {"n": n, "c": c, "h": h, "w": h, "kh": k, "kw": k, "stride": s, "dtype": t}
    for n, c, h, k, s in ((1, 16, 8, 2, 2), (2, 20, 15, 3, 2), (1, 64, 28, 3, 3))
    for t in (FP16, FP32)
)
LOSS = ({"m": 3, "n": 10}, {"m": 40, "n": 1000}, {"m": 33, "n": 129})
SHAPES: dict[str, tuple[Keys, ...]] = {
    **dict.fromkeys(("add", "sub", "mul", "maximum", "minimum"), (*BINARY, {"n": 700, "dtype": INT32})),
    "div": BINARY,
    "cast": tuple(
        {"n": n, "dtype": a, "out_dtype": b}
        for n in (37, 9000)
        for a, b in ((FP16, FP32), (FP32, FP16), (FP16, INT32), (INT32, FP32))
    ),
    "matmul": PRODUCT,
    "matmul_bias": PRODUCT,
    **dict.fromkeys(
        ("conv2d", "conv2d_bias", "conv2d_backward_input", "conv2d_backward_filter"), CONVOLUTION
    ),
    **dict.fromkeys(("max_pool", "max_pool_grad"), POOL),
    **dict.fromkeys(("reduce_max", "reduce_mean", "reduce_sum"), REDUCED),
    "bias_add_grad": ({"m": 17, "n": 1234}, {"m": 200, "n": 70}, {"m": 3, "n": 5000}),
    **dict.fromkeys(("nchw_to_nc1hwc0", "nc1hwc0_to_nchw"), IMAGE),
    **dict.fromkeys(("nd_to_nz", "nz_to_nd"), MATRIX),
    **dict.fromkeys(("softmax_cross_entropy", "softmax_cross_entropy_grad"), LOSS),
}
"""Every kernel that is not named here takes FLAT."""


def shapes_of(kernel: Kernel) -> Iterator[Shape]:
    """Yield the shapes that a kernel is checked on."""
    for keys in SHAPES.get(kernel.name, FLAT):
        yield kernel.shape_type(**keys)


def inputs_of(kernel: Kernel, shape: Shape, seed: int) -> Arrays:
    """Return inputs in which every value counts: indices that lie in the window, conditions of both kinds."""
    inputs = random_inputs(kernel, shape, seed)
    generator = np.random.Generator(np.random.Philox(seed))
    if "argmax" in inputs:
        window = getattr(shape, "kh", 1) * getattr(shape, "kw", 1)
        drawn = generator.integers(0, window, inputs["argmax"].shape)
        inputs["argmax"] = drawn.astype(inputs["argmax"].dtype)
    if "cond" in inputs:
        inputs["cond"] = inputs["cond"] * generator.integers(0, 2, inputs["cond"].shape).astype(bool)
    if "labels" in inputs:
        drawn = generator.integers(0, getattr(shape, "n", 1), inputs["labels"].shape)
        inputs["labels"] = drawn.astype(inputs["labels"].dtype)
    return inputs


def launches(platform: Platform, tilings: int = 3) -> Iterator[tuple[Kernel, Shape, Tiling]]:
    """Yield every kernel with its shapes and, of each, the default tiling and some of its space."""
    for kernel in kernels.load().values():
        for shape in shapes_of(kernel):
            chosen = dict.fromkeys([kernel.tiling_type.default(shape, platform)])
            chosen |= dict.fromkeys(islice(kernel.tiling_type.space(shape, platform), tilings))
            yield from ((kernel, shape, tiling) for tiling in chosen)
