"""What happens to accumulators on their way out: L0C through UB to GM, a stage of fractal columns at a time.

A sum of fp32 that is only rounded, or only kept from being negative, is so while it moves to UB. All else
is computed in UB, in fp32: integers are scaled, the residual is added, GELU is taken, then it is rounded.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import (
    FP16,
    FP32,
    INT8,
    INT32,
    data_move,
    l0c_to_ub,
    vadds,
    vaxpy_mixed,
    vector_dup,
    vmul,
)
from kernels.lang.buffers import UB, alloc
from kernels.lang.emits import emits
from kernels.lang.flat import (
    ABS,
    ADD,
    EXP,
    MAX,
    MAX_REPEAT,
    MUL,
    REC,
    SUB,
    flat_binary,
    flat_convert,
    flat_dup,
    flat_scale,
    flat_unary,
    size_of,
)
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use
from kernels.pieces.broadcast import block_binary
from kernels.pieces.columns import load_columns, store_columns
from kernels.pieces.transpose import spread

NONE, RELU_LAST, GELU_TANH, GELU_ERF = range(4)
"""Activations, as the option `act` of a shape."""
NOTHING = -1
BLOCK, REPEAT = 32, 256
COLUMNS = 32
"""Columns of fractals that leave at once, at most: tiles are at most 512 wide."""
TANH_LINEAR, TANH_CUBIC = -1.5957691216057308, -0.07135481282553494
"""-2 sqrt(2 / pi), and 0.044715 times that: tanh(u) = 2 / (1 + exp(-2 u)) - 1."""
ERF_P = 0.2316418882
ERF_1, ERF_2, ERF_3, ERF_4, ERF_5 = 0.127414796, -0.142248368, 0.710706871, -0.726576013, 0.530702716


class Region(NamedTuple):
    """A part of a tile that leaves: its place in c, its edges, its accumulator; without columns nothing."""

    target: int  # matrix of c
    m_at: int
    n_at: int
    m: int
    n: int
    slot: int


class Given(NamedTuple):
    """Operands of a product in GM; -1 stands for none."""

    a: int
    b: int
    c: int
    bias: int
    residual: int
    scale: int
    scales: int  # how many: one for all columns, or one for each


class Lent(NamedTuple):
    """The accumulators: where they are, their size, the first of their queues; what scales all, or -1."""

    l0c: int
    l0c_bytes: int
    acc: int
    factor: int


class Epilogue(NamedTuple):
    """Results and what they are computed from in GM, buffers, hand-offs; -1 stands for none."""

    c: int
    residual: int
    scale: int
    scales: int  # 1 for all, or one for each column
    m: int
    n: int
    out_dtype: int
    act: int
    is_whole: int  # accumulators are int32
    stage: int  # elements that leave at once
    lent: Lent
    leaving: int
    coming: int
    out: int
    work: int
    spare: int  # up to three more buffers of a stage, for GELU
    residuals: int
    factors: int
    pattern: int
    zeros: int  # a block of UB
    padding: int  # rows at the end of c that a bias has filled, and that are to be zero


@emits
def one_factor(core: Any, scale: int) -> int:
    """Return a block of UB that is full of the number scale[0]; its queue is closed again."""
    raw, full, scratch = alloc(core, UB, 64), alloc(core, UB, 16 * BLOCK), alloc(core, UB, 2048)
    q = queue(core, MTE2, V, 1)
    fill(core, q)
    data_move(core, raw, scale, 1, 1)
    filled(core, q)
    use(core, q)
    spread(core, full, raw, 1, 4, scratch)
    free(core, q)
    close(core, q)
    return full


@emits
def epilogue_of(core: Any, g: Given, m: int, n: int, lent: Lent, shape: Any, tiling: Any) -> Any:
    """Allocate what results need on their way, and open their hand-offs."""
    item, half = size_of(core, shape.out_dtype), 1 if shape.out_dtype == FP16 else 0
    is_whole, stage = 1 if shape.dtype == INT8 else 0, tiling.stage
    is_staged = 1 if g.residual >= 0 or g.scale >= 0 or shape.act > RELU_LAST else 0
    spares = 3 if shape.act == GELU_ERF else shape.act // GELU_TANH
    comes = 1 if g.residual >= 0 or g.scales > 1 else 0
    work = alloc(core, UB, stage * 4) if is_staged * half != 0 else is_staged - 1
    spare = alloc(core, UB, stage * 4 * spares) if spares > 0 else -1
    slots = 1 if shape.dtype == FP32 else 2
    residuals = alloc(core, UB, slots * stage * item, slots) if g.residual >= 0 else -1
    factors, pattern = lent.factor, -1
    if g.scales > 1:
        factors = alloc(core, UB, slots * COLUMNS * 64, slots)
        pattern = alloc(core, UB, COLUMNS * REPEAT)
    zeros = alloc(core, UB, BLOCK) if is_staged != 0 and shape.act % 2 != 0 else -1
    if zeros >= 0:
        vector_dup(core, zeros, 1, 0.0, FP32, 8)
    out = alloc(core, UB, tiling.stages * stage * item, tiling.stages)
    leaving = queue(core, V, MTE3, tiling.stages)
    coming = queue(core, MTE2, V, slots) if comes != 0 else -1
    padding = m - shape.m if g.bias >= 0 else 0
    return Epilogue(
        g.c, g.residual, g.scale, g.scales, m, n, shape.out_dtype, shape.act, is_whole, stage, lent,
        leaving, coming, out, work, spare, residuals, factors, pattern, zeros, padding,
    )  # fmt: skip


@emits
def columns_of(core: Any, e: Epilogue, m: int, n: int) -> int:
    """Return how many columns of fractals of c[m, n] leave at once: stages are of equal length."""
    most = max(1, e.stage // (16 * m))
    stages = (n // 16 + most - 1) // most
    return int((n // 16 + stages - 1) // max(1, stages))


@emits
def stages_of(core: Any, e: Epilogue, region: Region) -> int:
    """Return in how many stages a region leaves."""
    if region.n == 0:
        return 0
    columns = columns_of(core, e, region.m, region.n)
    return int((region.n // 16 + columns - 1) // columns)


@emits
def gelu_tanh(core: Any, x: int, t: int, n: int) -> None:
    """x[n] = x / (1 + exp(x (TANH_LINEAR + TANH_CUBIC x^2))) in fp32; this is x (1 + tanh(u)) / 2."""
    flat_binary(core, MUL, t, x, x, n, FP32)
    flat_scale(core, t, t, n, TANH_CUBIC, TANH_LINEAR, FP32)
    flat_binary(core, MUL, t, t, x, n, FP32)
    flat_unary(core, EXP, t, t, n, FP32)
    flat_scale(core, t, t, n, 1.0, 1.0, FP32)
    flat_unary(core, REC, t, t, n, FP32)
    flat_binary(core, MUL, x, x, t, n, FP32)


@emits
def gelu_erf(core: Any, x: int, t: int, size: int, zeros: int, n: int) -> None:
    """x[n] = x (1 + erf(x / sqrt(2))) / 2 in fp32; this is max(x, 0) - |x| q, q = erfc(|x| / sqrt(2)) / 2.

    Source: q to 0.75e-7 by formula 7.1.26 of Abramowitz and Stegun, Handbook of Mathematical Functions.
    """
    q, w = t + size, t + 2 * size
    flat_unary(core, ABS, w, x, n, FP32)
    flat_scale(core, t, w, n, ERF_P, 1.0, FP32)
    flat_unary(core, REC, t, t, n, FP32)
    flat_scale(core, q, t, n, ERF_5, ERF_4, FP32)
    flat_binary(core, MUL, q, q, t, n, FP32)
    flat_scale(core, q, q, n, 1.0, ERF_3, FP32)
    flat_binary(core, MUL, q, q, t, n, FP32)
    flat_scale(core, q, q, n, 1.0, ERF_2, FP32)
    flat_binary(core, MUL, q, q, t, n, FP32)
    flat_scale(core, q, q, n, 1.0, ERF_1, FP32)
    flat_binary(core, MUL, q, q, t, n, FP32)
    flat_binary(core, MUL, t, w, w, n, FP32)
    flat_scale(core, t, t, n, -0.5, 0.0, FP32)
    flat_unary(core, EXP, t, t, n, FP32)
    flat_binary(core, MUL, q, q, t, n, FP32)
    flat_binary(core, MUL, q, q, w, n, FP32)
    block_binary(core, MAX, x, x, zeros, n, FP32)
    flat_binary(core, SUB, x, x, q, n, FP32)


@emits
def add_scaled(core: Any, x: int, y: int, factor: float, n: int) -> None:
    """x[n] = x + y * factor, where x is fp32 and y fp16; n is a multiple of 64."""
    for done in range(0, n, 64 * MAX_REPEAT):
        repeat = min(MAX_REPEAT, (n - done) // 64)
        vaxpy_mixed(core, x + done * 4, y + done * 2, repeat, factor, 64, 1, 1, 8, 4)


@emits
def scale_columns(core: Any, e: Epilogue, factors: int, x: int, m: int, columns: int) -> None:
    """Multiply each column of fractals of x[m, 16] by its 16 factors."""
    for half in range(2):  # the 16 numbers, four times over
        to, start = e.pattern + half * BLOCK, factors + half * BLOCK
        vadds(core, to, start, columns, 0.0, FP32, 32, 2, 0, 8, 2)
    for n1 in range(columns):
        at = x + n1 * m * 64
        vmul(core, at, at, e.pattern + n1 * REPEAT, m // 4, FP32, 64, 1, 1, 1, 8, 8, 0)


@emits
def fetch(core: Any, e: Epilogue, place: int, column: int, region: Region, columns: int) -> int:
    """Bring what a stage needs of the residual and of the scales to UB; return the slot."""
    slot = fill(core, e.coming)
    if e.residual >= 0:
        item = size_of(core, e.out_dtype)
        run = region.m * 16 * item // BLOCK
        target = e.residuals + slot * e.stage * item
        load_columns(core, target, e.residual + place * item, columns, run, e.m * 16 * item // BLOCK)
    if e.scales > 1:
        data_move(core, e.factors + slot * COLUMNS * 64, e.scale + column * 4, 1, columns * 2)
    filled(core, e.coming)
    return int(slot)


@emits
def finish(core: Any, e: Epilogue, x: int, slot: int, region: Region, columns: int) -> None:
    """Turn accumulators in UB into results of fp32, in place; `slot` holds what was fetched for them."""
    n = columns * 16 * region.m
    if e.is_whole != 0:
        flat_convert(core, x, FP32, x, INT32, n)
        if e.scales > 1:
            scale_columns(core, e, e.factors + slot * COLUMNS * 64, x, region.m, columns)
        else:
            block_binary(core, MUL, x, x, e.factors, n, FP32)
    if e.residual >= 0:
        residual = e.residuals + slot * e.stage * size_of(core, e.out_dtype)
        if e.out_dtype == FP32:
            flat_binary(core, ADD, x, x, residual, n, FP32)
        else:
            add_scaled(core, x, residual, 1.0, n)
    if e.act == RELU_LAST:
        block_binary(core, MAX, x, x, e.zeros, n, FP32)
    elif e.act == GELU_TANH:
        gelu_tanh(core, x, e.spare, n)
    elif e.act == GELU_ERF:
        gelu_erf(core, x, e.spare, e.stage * 4, e.zeros, n)


@emits
def clear_padding(core: Any, e: Epilogue, out: int, region: Region, columns: int) -> None:
    """Set the last rows of each column of fractals to zero, if they are no rows of c."""
    if e.padding == 0 or region.m_at + region.m < e.m:
        return
    item = size_of(core, e.out_dtype)
    for n1 in range(1, columns + 1):
        first = out + (n1 * region.m - e.padding) * 16 * item
        flat_dup(core, first, 0.0, e.padding * 16, e.out_dtype)


@emits
def drain_stage(core: Any, e: Epilogue, region: Region, n1: int, columns: int) -> None:
    """Move columns of fractals from `n1` on of a region to their place in c."""
    item = size_of(core, e.out_dtype)
    column = region.n_at + n1 * 16
    place = region.target * e.m * e.n + column * e.m + region.m_at * 16
    acc = e.lent.l0c + region.slot * e.lent.l0c_bytes + n1 * region.m * 64
    fractals, to_half = columns * (region.m // 16), 1 if e.out_dtype == FP16 else 0
    slot = 0
    if e.coming >= 0:
        slot = fetch(core, e, place, column, region, columns)
    out = e.out + fill(core, e.leaving) * e.stage * item
    if e.work < 0:
        l0c_to_ub(core, out, acc, 1, fractals, 0, 0, to_half, e.act, 1.0, INT32 if e.is_whole != 0 else FP32)
    else:
        x = e.work if to_half != 0 else out
        if e.is_whole != 0:
            l0c_to_ub(core, x, acc, 1, fractals, dtype=INT32)
        else:
            l0c_to_ub(core, x, acc, 1, fractals)
        if e.coming >= 0:
            use(core, e.coming)
        finish(core, e, x, slot, region, columns)
        if e.coming >= 0:
            free(core, e.coming)
        if to_half != 0:
            flat_convert(core, out, FP16, x, FP32, columns * 16 * region.m)
    clear_padding(core, e, out, region, columns)
    filled(core, e.leaving)
    use(core, e.leaving)
    run, height = region.m * 16 * item // BLOCK, e.m * 16 * item // BLOCK
    store_columns(core, e.c + place * item, out, columns, run, height)
    free(core, e.leaving)


@emits
def drain(core: Any, e: Epilogue, region: Region, first: int, last: int) -> None:
    """Let stages first..last of a region leave; before the first one the cube gives the accumulator back."""
    if first >= last:
        return
    columns = columns_of(core, e, region.m, region.n)
    if first == 0:
        fill(core, e.lent.acc + region.slot)
    for stage in range(first, last):
        n1 = stage * columns
        drain_stage(core, e, region, n1, min(columns, region.n // 16 - n1))
