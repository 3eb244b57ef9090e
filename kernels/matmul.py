"""Matrix products on the cube: c = a @ b, operands transposed or not, with or without a bias.

Tensors lie in GM as FRACTAL_NZ. A core computes tiles c[m0, n0]: panels of a and b come to L1 (`l1_k` of the
inner axis at once), pieces of `k0` go on to L0A and L0B, the cube accumulates over all of k in L0C, and the
result leaves through UB. Every hand-off has `slots` buffers.

The cube multiplies fp16. Operands of fp32 are cut by the vector unit into two fp16 numbers, x = hi + lo, on
their way to L1, and three products are added: hi hi + hi lo + lo hi. What is lost is 2**-22 of each product.
Numbers beyond the range of fp16 (65504) become infinite.

Source of the method: SGEMM-cube, arXiv 2507.23387 (published for this chip), without its scaling of `lo`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    FP16,
    FP32,
    L0A,
    L0B,
    L0C,
    L1,
    MTE1,
    MTE2,
    MTE3,
    SUB,
    UB,
    M,
    Operand,
    Shape,
    Tiling,
    V,
    alloc,
    broadcast_ub_to_l0c,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_binary,
    flat_convert,
    free,
    kernel,
    l0c_to_ub,
    load2d,
    mmad,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
)
from kernels.rules import require, require_dtype, round_up

Array = npt.NDArray[Any]
EDGE = 16
CUT_ROWS = 128
"""How many rows of 16 fp32 numbers are cut into halves at once."""
STAGE_ELEMENTS = 16384
"""How much of a result is drained at once, so that draining and storing overlap."""


def matmul_reference(shape: Any, a: Array, b: Array) -> tuple[Array]:
    """Return c[..., m, n] = a[..., m, k] @ b[..., k, n], accumulated in float32 and rounded once."""
    left = np.swapaxes(a, -1, -2) if shape.trans_a else a
    right = np.swapaxes(b, -1, -2) if shape.trans_b else b
    product = left.astype(np.float32) @ right.astype(np.float32)
    return (product.astype(np.float32 if shape.out_dtype == FP32 else np.float16),)


def matmul_bias_reference(shape: Any, a: Array, b: Array, bias: Array) -> tuple[Array]:
    """Return c[..., m, n] = a @ b + bias[n], accumulated in float32 and rounded once."""
    left = np.swapaxes(a, -1, -2) if shape.trans_a else a
    right = np.swapaxes(b, -1, -2) if shape.trans_b else b
    product = left.astype(np.float32) @ right.astype(np.float32) + bias
    return (product.astype(np.float32 if shape.out_dtype == FP32 else np.float16),)


@dataclass(frozen=True)
class MatmulShape(Shape):
    """c[b, m, n] = a[b, m, k] @ b[b, k, n]; a is stored (k, m) with trans_a, b (n, k) with trans_b."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("trans_a", "trans_b")
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 16, "k": 16, "n": 16}, {"m": 100, "k": 70, "n": 50}, {"m": 256, "k": 300, "n": 128},
        {"m": 33, "k": 64, "n": 1001, "trans_b": 1}, {"m": 65, "k": 129, "n": 17, "trans_a": 1, "b": 2},
        {"m": 40, "k": 50, "n": 60, "dtype": FP32, "out_dtype": FP32},
        {"m": 130, "k": 512, "n": 90, "trans_a": 1, "trans_b": 1, "out_dtype": FP32},
    )  # fmt: skip
    m: int
    k: int
    n: int
    b: int = 1
    trans_a: int = 0
    trans_b: int = 0
    dtype: int = FP16
    out_dtype: int = FP16

    def check(self, kernel: str) -> None:
        """Refuse element types that the cube cannot multiply, results that L0C does not hold, odd options."""
        require_dtype(kernel, self.dtype, FP16, FP32)
        require_dtype(kernel, self.out_dtype, FP16, FP32, name="out_dtype")
        for name in self.OPTIONS:
            value = getattr(self, name)
            require(kernel, value in {0, 1}, f"{name} is 0 or 1", f"{name}={value}")

    def batched(self, rows: int, columns: int) -> tuple[int, ...]:
        """Return the shape of a matrix, with the batch in front if there is one."""
        return (rows, columns) if self.b == 1 else (self.b, rows, columns)


def _operands(shape: MatmulShape) -> tuple[Operand, ...]:
    a = shape.batched(shape.k, shape.m) if shape.trans_a else shape.batched(shape.m, shape.k)
    b = shape.batched(shape.n, shape.k) if shape.trans_b else shape.batched(shape.k, shape.n)
    c = shape.batched(shape.m, shape.n)
    inputs = Operand("a", a, shape.dtype, "NZ"), Operand("b", b, shape.dtype, "NZ")
    return *inputs, output("c", c, shape.out_dtype, "NZ")


def _operands_with_bias(shape: MatmulShape) -> tuple[Operand, ...]:
    a, b, c = _operands(shape)
    return a, b, Operand("bias", (shape.n,), FP32, padding_bytes=-4 * shape.n % 64), c


@dataclass(frozen=True)
class MatmulTiling(Tiling):
    """Tile edges in elements (multiples of 16) and the buffers of each hand-off."""

    m0: int
    k0: int
    n0: int
    l1_k: int
    slots: int = 2

    @classmethod
    def default(cls, shape: MatmulShape, platform: Platform) -> "MatmulTiling":
        """Return the tiling with the least estimated time of cube and memory path; none fits: the least."""
        fitting = cls.space(shape, platform)
        least = cls(EDGE, EDGE, EDGE, EDGE)
        return min(fitting, key=lambda tiling: tiling._estimate(shape, platform), default=least)

    @classmethod
    def space(cls, shape: MatmulShape, platform: Platform) -> Iterator["MatmulTiling"]:
        """Yield the tilings whose buffers fit, by the edges of the output tile."""
        edges = (16, 32, 64, 128, 256)
        for m0 in edges:
            for n0 in edges:
                if max(m0 // 2 >= round_up(shape.m, EDGE), n0 // 2 >= round_up(shape.n, EDGE)):
                    continue
                l0 = min(int(platform.l0a_bytes), int(platform.l0b_bytes))
                k_limit = l0 // (2 * 2 * max(m0, n0)) // EDGE * EDGE
                if k_limit == 0:
                    continue
                k0 = min(round_up(shape.k, EDGE), k_limit, 4080)
                item = 4 if shape.dtype == FP32 else 2
                l1_limit = int(platform.l1_bytes) // (2 * item * (m0 + n0))
                l1_k = max(k0, min(round_up(shape.k, EDGE), l1_limit // k0 * k0, 4 * k0))
                if 2 * 4 * m0 * n0 <= int(platform.l0c_bytes) and l1_k <= l1_limit:
                    yield cls(m0, k0, n0, l1_k)

    def blocks(self, shape: MatmulShape, platform: Platform) -> int:
        """Return one core per output tile, as many as there are."""
        return min(int(platform.ai_cores), self._tiles(shape))

    def _tiles(self, shape: MatmulShape) -> int:
        return shape.b * -(-shape.m // self.m0) * -(-shape.n // self.n0)

    def _estimate(self, shape: MatmulShape, platform: Platform) -> float:
        """Estimate cycles: tiles per core, each bound by the cube or by its loads, then the last drain."""
        k = round_up(shape.k, EDGE)
        m0, n0 = min(self.m0, round_up(shape.m, EDGE)), min(self.n0, round_up(shape.n, EDGE))
        cube = m0 * n0 * k / 4096 + -(-k // self.k0) * int(platform.mmad_head_cycles)
        share = int(platform.l2_chip_bytes_per_cycle) / int(platform.ai_cores)
        path = min(int(platform.l2_read_bytes_per_cycle), share)
        load = (m0 + n0) * k * 2 / path + 2 * int(platform.gm_to_l1_head_cycles)
        store = m0 * n0 * 4 / min(int(platform.l2_write_bytes_per_cycle), share)
        return (
            -(-self._tiles(shape) // int(platform.ai_cores)) * max(cube, load, store)
            + store
            + min(cube, load)
        )


class Buffers(NamedTuple):
    """Where a core keeps its tiles; a slot of each is so many bytes."""

    l1_a: int
    l1_b: int
    l0a: int
    l0b: int
    l0c: int
    ub: int
    ub_bias: int
    ub_raw: int
    ub_back: int
    ub_halves: int
    l1_a_bytes: int
    l1_b_bytes: int
    l0a_bytes: int
    l0b_bytes: int
    l0c_bytes: int
    ub_bytes: int


class Queues(NamedTuple):
    """The hand-offs: to L1, to L0, L0C to UB, UB to GM, bias to UB and on to L0C, fp32 to UB and on to L1."""

    l1: int
    l0: int
    acc: int
    out: int
    bias: int
    ready: int
    raw: int
    cut: int


class Matrices(NamedTuple):
    """Operands in GM; m, n and k_padded are whole fractals, k is the exact inner axis."""

    a: int
    b: int
    c: int
    m: int
    n: int
    k_padded: int
    k: int
    trans_a: int
    trans_b: int
    out_dtype: int
    item: int  # bytes of an element of a and b


class Tile(NamedTuple):
    """A piece of the problem: where it begins along each axis, and how long it is."""

    batch: int
    m_at: int
    n_at: int
    k_at: int
    m: int
    n: int
    k: int


class Panel(NamedTuple):
    """A tile of a matrix in GM: its first row, its edges, the rows of the matrix, bytes of an element."""

    row: int
    height: int
    width: int
    all_rows: int
    item: int


@emits
def load_panel(core: Any, at: Any, q: Any, l1: int, gm: int, panel: Any) -> None:
    """Bring an NZ tile [height, width] of fp16, or cut of fp32, at a row of a matrix in GM to L1."""
    if panel.item == 2:
        run = panel.height
        data_move(core, l1, gm + panel.row * 32, panel.width // 16, run, src_gap=panel.all_rows - run)
        return
    for c1 in range(panel.width // 16):
        for row in range(0, panel.height, CUT_ROWS):
            rows = min(CUT_ROWS, panel.height - row)
            source = gm + (c1 * panel.all_rows + panel.row + row) * 64
            target = l1 + (c1 * panel.height + row) * 32
            cut_rows(core, at, q, target, panel.height * panel.width * 2, source, rows)


@emits
def cut_rows(core: Any, at: Any, q: Any, l1: int, apart: int, gm: int, rows: int) -> None:
    """Bring 16 columns of fp32 rows to L1 as two fp16 tiles, hi and, `apart` bytes on, lo = x - hi."""
    raw = at.ub_raw + fill(core, q.raw) * CUT_ROWS * 64
    data_move(core, raw, gm, 1, rows * 2)
    filled(core, q.raw)
    use(core, q.raw)
    hi = at.ub_halves + fill(core, q.cut) * CUT_ROWS * 64
    lo, back = hi + CUT_ROWS * 32, at.ub_back
    flat_convert(core, hi, FP16, raw, FP32, rows * 16)
    flat_convert(core, back, FP32, hi, FP16, rows * 16)
    flat_binary(core, SUB, raw, raw, back, rows * 16, FP32)
    flat_convert(core, lo, FP16, raw, FP32, rows * 16)
    free(core, q.raw)
    filled(core, q.cut)
    use(core, q.cut)
    data_move(core, l1, hi, 1, rows)
    data_move(core, l1 + apart, lo, 1, rows)
    free(core, q.cut)


@emits
def load_panels(core: Any, at: Any, q: Any, x: Any, slot: int, t: Any) -> None:
    """Bring a[m, k] and b[k, n] of one step along k to a slot of L1, as they are stored."""
    tile_a, tile_b = at.l1_a + slot * at.l1_a_bytes, at.l1_b + slot * at.l1_b_bytes
    a = x.a + t.batch * x.m * x.k_padded * x.item
    b = x.b + t.batch * x.k_padded * x.n * x.item
    if x.trans_a != 0:
        panel = Panel(t.k_at, t.k, t.m, x.k_padded, x.item)
        load_panel(core, at, q, tile_a, a + t.m_at * x.k_padded * x.item, panel)
    else:
        load_panel(core, at, q, tile_a, a + t.k_at * x.m * x.item, Panel(t.m_at, t.m, t.k, x.m, x.item))
    if x.trans_b != 0:
        load_panel(core, at, q, tile_b, b + t.k_at * x.n * x.item, Panel(t.n_at, t.n, t.k, x.n, x.item))
    else:
        panel = Panel(t.k_at, t.k, t.n, x.k_padded, x.item)
        load_panel(core, at, q, tile_b, b + t.n_at * x.k_padded * x.item, panel)


@emits
def load_a(core: Any, l0a: int, l1: int, t: Any, piece: int, depth: int, trans: int) -> None:
    """Bring a[m, depth] at column `piece` of the L1 tile a[m, k] to L0A as ZZ."""
    for m1 in range(t.m // 16):
        target = l0a + m1 * (depth // 16) * 512
        if trans != 0:  # the tile is (k, m): fractals (m1, k1), each to be transposed
            load2d(core, target, l1 + (m1 * (t.k // 16) + piece // 16) * 512, depth // 16, transpose=1)
        else:  # fractals (k1, m1)
            source = l1 + (piece // 16 * (t.m // 16) + m1) * 512
            load2d(core, target, source, depth // 16, src_stride=t.m // 16)


@emits
def load_b(core: Any, l0b: int, l1: int, t: Any, piece: int, depth: int, trans: int) -> None:
    """Bring b[depth, n] at row `piece` of the L1 tile b[k, n] to L0B as ZN."""
    if trans != 0:  # the tile is (n, k): fractals (k1, n1), already column-major for the cube
        first, fractals = l1 + piece // 16 * (t.n // 16) * 512, depth // 16 * (t.n // 16)
        for done in range(0, fractals, 255):
            load2d(core, l0b + done * 512, first + done * 512, min(255, fractals - done))
        return
    for k1 in range(depth // 16):  # the tile is (k, n): fractals (n1, k1)
        source = l1 + (piece // 16 + k1) * 512
        load2d(core, l0b + k1 * (t.n // 16) * 512, source, t.n // 16, src_stride=t.k // 16, transpose=1)


@emits
def multiply_panels(core: Any, at: Any, q: Any, x: Any, slot: int, acc: int, t: Any, k0: int) -> None:
    """Add a[m, k] @ b[k, n] of a slot of L1 to acc[m, n], in pieces of |k0|; k0 < 0: acc holds the bias.

    Of fp32 each tile lies there twice, hi and lo; lo lo is left out.
    """
    tile_a, tile_b = at.l1_a + slot * at.l1_a_bytes, at.l1_b + slot * at.l1_b_bytes
    for part in range(3 if x.item == 4 else 1):  # hi hi, hi lo, lo hi
        part_a = tile_a + (t.m * t.k * 2 if part == 2 else 0)
        part_b = tile_b + (t.n * t.k * 2 if part == 1 else 0)
        for piece in range(0, t.k, abs(k0)):
            depth = min(abs(k0), t.k - piece)
            half = fill(core, q.l0)
            l0a, l0b = at.l0a + half * at.l0a_bytes, at.l0b + half * at.l0b_bytes
            load_a(core, l0a, part_a, t, piece, depth, x.trans_a)
            load_b(core, l0b, part_b, t, piece, depth, x.trans_b)
            filled(core, q.l0)
            use(core, q.l0)
            exact = min(depth, x.k - t.k_at - piece)
            mmad(core, acc, l0a, l0b, t.m, exact, t.n, (t.k_at + piece + part > 0) | (k0 < 0))
            free(core, q.l0)


@emits
def bias_tile(core: Any, acc: int, ub: int, bias: int, q: Any, t: Any) -> None:
    """Fill acc[m, n] with the rows bias[n], from GM through UB, before the cube adds to it."""
    fill(core, q.bias)
    data_move(core, ub, bias + t.n_at * 4, 1, t.n * 4 // 32)
    filled(core, q.bias)
    use(core, q.bias)
    for m1 in range(t.m // 16):
        broadcast_ub_to_l0c(core, acc + m1 * 1024, ub, t.n // 16, 1, 0, t.m // 16 - 1)
    free(core, q.bias)
    fill(core, q.ready)
    filled(core, q.ready)
    use(core, q.ready)
    free(core, q.ready)


@emits
def store_tile(core: Any, at: Any, q: Any, x: Any, acc: int, t: Any) -> None:
    """Move acc[m, n] to its place in c, through the slots of UB, as many columns at once as fit one."""
    item = size_of(core, x.out_dtype)
    row_bytes = 16 * item
    gm = x.c + (t.batch * x.m * x.n + t.n_at * x.m + t.m_at * 16) * item
    columns = max(1, at.ub_bytes // (t.m * row_bytes))
    for n1 in range(0, t.n // 16, columns):
        count = min(columns, t.n // 16 - n1)
        stage = at.ub + fill(core, q.out) * at.ub_bytes
        l0c_to_ub(core, stage, acc + n1 * t.m * 64, 1, count * (t.m // 16), to_fp16=(x.out_dtype == FP16))
        filled(core, q.out)
        use(core, q.out)
        target, run = gm + n1 * x.m * row_bytes, t.m * row_bytes // 32
        data_move(core, target, stage, count, run, dst_gap=(x.m - t.m) * row_bytes // 32)
        free(core, q.out)


@emits
def tile_buffers(core: Any, x: Any, m0: int, k0: int, n0: int, l1_k: int, slots: int) -> Any:
    """Allocate the tiles of every level."""
    item = size_of(core, x.out_dtype)
    l1_a_bytes, l1_b_bytes = m0 * l1_k * x.item, l1_k * n0 * x.item
    l0a_bytes, l0b_bytes, l0c_bytes = m0 * k0 * 2, k0 * n0 * 2, m0 * n0 * 4
    ub_bytes = min(m0 * n0, max(m0 * 16, STAGE_ELEMENTS)) * item
    l1_a = alloc(core, L1, slots * l1_a_bytes, slots)
    l1_b = alloc(core, L1, slots * l1_b_bytes, slots)
    l0a = alloc(core, L0A, slots * l0a_bytes, slots)
    l0b = alloc(core, L0B, slots * l0b_bytes, slots)
    l0c = alloc(core, L0C, slots * l0c_bytes, slots)
    ub = alloc(core, UB, slots * ub_bytes, slots)
    ub_bias = alloc(core, UB, n0 * 4)
    cut_bytes = CUT_ROWS * 64 if x.item == 4 else 0
    ub_raw, ub_back = alloc(core, UB, 2 * cut_bytes, 2), alloc(core, UB, cut_bytes)
    ub_halves = alloc(core, UB, 2 * cut_bytes, 2)
    places = (l1_a, l1_b, l0a, l0b, l0c, ub, ub_bias, ub_raw, ub_back, ub_halves)
    return Buffers(*places, l1_a_bytes, l1_b_bytes, l0a_bytes, l0b_bytes, l0c_bytes, ub_bytes)


@emits
def open_queues(core: Any, x: Any, slots: int) -> Any:
    """Open the hand-offs; those of the bias need no second slot, those of fp32 are opened where it is cut."""
    is_cut = x.item == 4
    l1 = queue(core, MTE3 if is_cut else MTE2, MTE1, slots)
    l0, acc, out = queue(core, MTE1, M, slots), queue(core, M, V, slots), queue(core, V, MTE3, slots)
    bias, ready = queue(core, MTE2, V, 1), queue(core, V, M, 1)
    raw = queue(core, MTE2, V, 2) if is_cut else -1
    cut = queue(core, V, MTE3, 2) if is_cut else -1
    return Queues(l1, l0, acc, out, bias, ready, raw, cut)


@emits
def product(core: Any, x: Any, bias: int, batches: int, tiling: Any) -> None:
    """Compute this block's share of the output tiles; a bias handle of -1 stands for none."""
    m0, n0, slots = min(tiling.m0, x.m), min(tiling.n0, x.n), tiling.slots
    k0, l1_k = min(tiling.k0, x.k_padded), min(tiling.l1_k, x.k_padded)
    at = tile_buffers(core, x, m0, k0, n0, l1_k, slots)
    q = open_queues(core, x, slots)
    rows, columns = (x.m + m0 - 1) // m0, (x.n + n0 - 1) // n0
    tiles = batches * rows * columns
    for tile in range(share_start(core, tiles, 1), share_end(core, tiles, 1)):
        batch, m_at, n_at = tile // (rows * columns), tile // columns % rows * m0, tile % columns * n0
        m, n = min(m0, x.m - m_at), min(n0, x.n - n_at)
        t = Tile(batch, m_at, n_at, 0, m, n, 0)
        acc = at.l0c + fill(core, q.acc) * at.l0c_bytes
        if bias >= 0:
            bias_tile(core, acc, at.ub_bias, bias, q, t)
        for k_at in range(0, x.k_padded, l1_k):
            t = Tile(batch, m_at, n_at, k_at, m, n, min(l1_k, x.k_padded - k_at))
            slot = fill(core, q.l1)
            load_panels(core, at, q, x, slot, t)
            filled(core, q.l1)
            use(core, q.l1)
            multiply_panels(core, at, q, x, slot, acc, t, -k0 if bias >= 0 else k0)
            free(core, q.l1)
        filled(core, q.acc)
        use(core, q.acc)
        store_tile(core, at, q, x, acc, t)
        free(core, q.acc)
    for number in range(max(q.ready, q.cut), q.l1 - 1, -1):
        close(core, number)


@emits
def matrices(core: Any, a: int, b: int, c: int, shape: Any) -> Any:
    """Gather the operands with their edges padded to fractals."""
    m, n, k = (shape.m + 15) // 16 * 16, (shape.n + 15) // 16 * 16, (shape.k + 15) // 16 * 16
    options = (shape.k, shape.trans_a, shape.trans_b, shape.out_dtype)
    return Matrices(a, b, c, m, n, k, *options, size_of(core, shape.dtype))


def macs(shape: MatmulShape) -> int:
    """Count the cube's multiplications, without padding."""
    return shape.b * shape.m * shape.k * shape.n


@kernel(MatmulShape, MatmulTiling, _operands, matmul_reference, macs)
def matmul(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[b, m, n] = a[b, m, k] @ b[b, k, n], fp16 or fp32 in, fp32 accumulated, fp16 or fp32 out."""
    product(core, matrices(core, a, b, c, shape), -1, shape.b, tiling)


@kernel(MatmulShape, MatmulTiling, _operands_with_bias, matmul_bias_reference, macs)
def matmul_bias(core: Any, a: int, b: int, bias: int, c: int, shape: Any, tiling: Any) -> None:
    """c[b, m, n] = a[b, m, k] @ b[b, k, n] + bias[n], fp16 or fp32 in, bias fp32, fp16 or fp32 out."""
    product(core, matrices(core, a, b, c, shape), bias, shape.b, tiling)
