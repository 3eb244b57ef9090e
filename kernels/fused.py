"""Chains of element-wise steps in one pass through UB; which steps is a part of the shape.

Emission interprets the steps tile by tile, so that a new expression needs no compilation. Every step is the
instructions of the kernel that computes it alone, in the same element type: results are equal to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.choice import Choice, choose
from kernels.elementwise import one_source
from kernels.lang import (
    FP16,
    FP32,
    MTE2,
    MTE3,
    UB,
    Operand,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_convert,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vector_dup,
)
from kernels.lang.flat import MAX_REPEAT
from kernels.pieces.broadcast import COLUMN, MAX_ROWS, NUMBER, ROW, SAME, repeated_row, spread_number
from kernels.pieces.broadcast_axes import run_binary
from kernels.pieces.rows import pitch_bytes
from kernels.pieces.sides import BLOCK, FALSE, FIRST_TEST, REPEAT, TESTS, TRUE, Lanes, Side, strided_sides
from kernels.pieces.transpose import spread
from kernels.tiling.expression import (
    A_AT,
    B_AT,
    C_AT,
    CAST,
    CODE_BITS,
    CONSTANT,
    CONSTANT_AT,
    FIRST_BINARY,
    FIRST_COMPARISON,
    FIRST_RESULT,
    FIRST_SPARE,
    FIRST_UNARY,
    FROM_AT,
    MOST_STEPS,
    PLACE_BITS,
    RELU_GRAD,
    SELECT,
    TO_AT,
    Step,
)
from kernels.tiling.fused import SHORTEST, FusedShape, FusedTiling

Array = npt.NDArray[Any]
OPERATION, PLACE = (1 << CODE_BITS) - 1, (1 << PLACE_BITS) - 1
"""What a step's fields hold: which operation it is, and the places from their starts on."""


class Bench(NamedTuple):
    """What steps share in UB: a block of zeros, bits of tests, tests of fp16 and of fp32, constants."""

    zero: int
    bits: int
    half: int
    full: int
    constants: int


class Places(NamedTuple):
    """Where values lie, by place: starts in UB, and where columns are spread, with scratch for that.

    Tiles have `tile` elements in rows of `columns`; `sources` and `results` are the shape's.
    """

    start: Any
    blocks: Any
    scratch: int
    tile: int
    columns: int
    slots: int
    sources: int
    results: int


class Now(NamedTuple):
    """The slots of sources and results that hold the tile in work, its elements and those before it."""

    taken: int
    made: int
    first: int
    n: int


@emits
def step_of(core: Any, shape: Any, i: int) -> int:
    """Return a step of the expression, 0 behind the last."""
    steps = (
        shape.s0, shape.s1, shape.s2, shape.s3, shape.s4, shape.s5, shape.s6, shape.s7, shape.s8, shape.s9,
        shape.s10, shape.s11,
    )  # fmt: skip
    return int(steps[i]) if i < MOST_STEPS else 0


@emits
def type_of_source(core: Any, sources: int, i: int) -> int:
    """Return the element type of a source."""
    return int(sources >> (3 + 4 * i) & 3)


@emits
def pattern_of(core: Any, sources: int, i: int) -> int:
    """Return how a source is broadcast."""
    return int(sources >> (5 + 4 * i) & 3)


@emits
def type_of_result(core: Any, results: int, i: int) -> int:
    """Return the element type of a result."""
    return int(results >> (2 + 2 * i) & 3)


@emits
def needs(core: Any, shape: Any, first: int, last: int, dtype: int) -> int:
    """Return 1 if a step of these operations computes in a type, else 0."""
    found, i = 0, 0
    while step_of(core, shape, i) != 0:
        step = step_of(core, shape, i)
        if first <= (step & OPERATION) <= last and step >> CODE_BITS & 3 == dtype:
            found = 1
        i += 1
    return found


@emits
def tests_of(core: Any, shape: Any, dtype: int) -> int:
    """Return room for comparisons in a type, with blocks of ones and zeros, if there are any."""
    is_needed = needs(core, shape, FIRST_COMPARISON, FIRST_UNARY - 1, dtype)
    room = alloc(core, UB, is_needed * (FALSE + BLOCK))
    if is_needed != 0:
        vector_dup(core, room + TRUE, 1, 1.0, dtype, BLOCK // size_of(core, dtype))
        vector_dup(core, room + FALSE, 1, 0.0, dtype, BLOCK // size_of(core, dtype))
    return room


@emits
def bench_of(core: Any, shape: Any) -> Bench:
    """Allocate what the steps share: block i of the constants is full of that of step i."""
    half, full = tests_of(core, shape, FP16), tests_of(core, shape, FP32)
    choices = needs(core, shape, RELU_GRAD, SELECT, FP16) + needs(core, shape, RELU_GRAD, SELECT, FP32)
    zero, bits = alloc(core, UB, BLOCK), alloc(core, UB, min(1, choices) * (MAX_REPEAT + 1) * 16)
    constants = alloc(core, UB, MOST_STEPS * BLOCK)
    vector_dup(core, zero, 1, 0.0, FP32, BLOCK // 4)
    i = 0
    while step_of(core, shape, i) != 0:
        step = step_of(core, shape, i)
        has_constant = (step >> A_AT & PLACE) == CONSTANT or (step >> B_AT & PLACE) == CONSTANT
        if has_constant or (step >> C_AT & PLACE) == CONSTANT:
            value = np.uint32(step >> CONSTANT_AT & 0xFFFFFFFF).view(np.float32)
            dtype = step >> CODE_BITS & 3
            vector_dup(core, constants + i * BLOCK, 1, float(value), dtype, BLOCK // size_of(core, dtype))
        i += 1
    return Bench(zero, bits, half, full, constants)


@emits
def whole_rows(core: Any, shape: Any, tile: int) -> int:
    """Return a tile rounded down to whole rows where a source is broadcast, else to fast transfers."""
    unit, most = share_unit(core, shape), tile
    for i in range(shape.sources & 7):
        if pattern_of(core, shape.sources, i) == COLUMN:
            most = min(tile, MAX_ROWS * unit)
    return int(max(1, most // unit) * unit)


@emits
def share_unit(core: Any, shape: Any) -> int:
    """Return of how many elements the shares of blocks are multiples."""
    is_broadcast = 0
    for i in range(shape.sources & 7):
        if pattern_of(core, shape.sources, i) in (ROW, COLUMN):
            is_broadcast = 1
    return int(shape.n // shape.rows) if is_broadcast != 0 else SHORTEST


@emits
def full_bytes(core: Any, n: int, dtype: int) -> int:
    """Return the bytes of a tile in whole repeats, which comparisons compute."""
    return (n * size_of(core, dtype) + REPEAT - 1) // REPEAT * REPEAT


@emits
def put(core: Any, t: Any, i: int, value: int) -> Any:
    """Return the numbers of all places with one of them changed."""
    return (
        value if i == 0 else t[0], value if i == 1 else t[1], value if i == 2 else t[2],
        value if i == 3 else t[3], value if i == 4 else t[4], value if i == 5 else t[5],
        value if i == 6 else t[6], value if i == 7 else t[7], value if i == 8 else t[8],
        value if i == 9 else t[9], value if i == 10 else t[10], value if i == 11 else t[11],
        value if i == 12 else t[12], value if i == 13 else t[13], value if i == 14 else t[14],
    )  # fmt: skip


@emits
def kind_of_place(core: Any, sources: int, place: int) -> int:
    """Return how what lies in a place is broadcast; only sources are."""
    return pattern_of(core, sources, place) if place < (sources & 7) else SAME


@emits
def pitch_of(core: Any, p: Places, place: int) -> int:
    """Return the bytes from slot to slot of a place."""
    if place >= FIRST_SPARE:
        return 0
    if place >= FIRST_RESULT:
        return full_bytes(core, p.tile, type_of_result(core, p.results, place - FIRST_RESULT))
    kind, dtype = pattern_of(core, p.sources, place), type_of_source(core, p.sources, place)
    if kind == COLUMN:
        return pitch_bytes(core, p.tile // p.columns * size_of(core, dtype) + BLOCK)
    return full_bytes(core, p.tile, dtype) if kind == SAME else 0


@emits
def room_of_source(core: Any, p: Places, i: int, handle: int) -> int:
    """Return where a source comes to lie; numbers and rows that are broadcast are brought at once."""
    dtype, kind = type_of_source(core, p.sources, i), pattern_of(core, p.sources, i)
    size = size_of(core, dtype)
    if kind == NUMBER:
        return spread_number(core, handle, size)
    if kind == ROW:
        return repeated_row(core, handle, p.columns * size, full_bytes(core, p.tile, dtype))
    return alloc(core, UB, p.slots * pitch_of(core, p, i), p.slots)


@emits
def places_of(core: Any, h: Any, shape: Any, tile: int, slots: int) -> Places:
    """Allocate every place."""
    o = tile * 0
    start = (o, o, o, o, o, o, o, o, o, o, o, o, o, o, o)
    blocks, height, has_columns = start, tile // (shape.n // shape.rows), 0
    columns, sources, results = int(shape.n // shape.rows), int(shape.sources), int(shape.results)
    p = Places(start, start, o, tile, columns, slots, sources, results)
    for i in range(shape.sources & 7):
        start = put(core, start, i, room_of_source(core, p, i, int(h[i])))
        if pattern_of(core, shape.sources, i) == COLUMN:
            blocks, has_columns = put(core, blocks, i, alloc(core, UB, (height + 16) * BLOCK)), 1
    scratch = alloc(core, UB, has_columns * (height + 15) // 16 * 2048)
    for i in range(FIRST_RESULT, FIRST_RESULT + (shape.results & 3)):
        start = put(core, start, i, alloc(core, UB, slots * pitch_of(core, p, i), slots))
    for i in range(shape.spare & 7):
        dtype = FP32 if shape.spare >> (3 + i) & 1 else FP16
        start = put(core, start, FIRST_SPARE + i, alloc(core, UB, full_bytes(core, tile, dtype)))
    return Places(start, blocks, scratch, tile, columns, slots, sources, results)


@emits
def lies(core: Any, p: Places, now: Now, place: int) -> int:
    """Return where what is in a place lies for the tile in work."""
    slot = now.taken if place < FIRST_RESULT else now.made
    return int(p.start[place] + slot * pitch_of(core, p, place))


@emits
def side_of(core: Any, p: Places, now: Now, place: int, constant: int, pitch: int) -> Side:
    """Return an argument as a side of an instruction: an array, or blocks full of one number.

    Repeats are `pitch` blocks apart; those of a column go over rows.
    """
    if place == CONSTANT:
        return Side(constant, constant * 0, constant * 0, constant * 0)
    there, kind = lies(core, p, now, place), kind_of_place(core, p.sources, place)
    if kind == NUMBER:
        return Side(there, there * 0, there * 0, there * 0)
    if kind == COLUMN:
        return Side(int(p.blocks[place]), there * 0, there * 0 + 1, there * 0)
    return Side(there, there * 0 + 1, there * 0 + pitch, there * 0 + REPEAT)


@emits
def apply_sides(core: Any, op: int, dst: int, a: Side, b: Side, n: int, dtype: int) -> None:
    """Compute dst[n] = a op b, each side contiguous or one block."""
    lanes, done = REPEAT // size_of(core, dtype), 0
    while done < n:
        repeat, line = max(1, min(MAX_REPEAT, (n - done) // lanes)), done // lanes
        left = Side(a.at + line * a.step, a.blk, a.rep, a.step)
        right = Side(b.at + line * b.step, b.blk, b.rep, b.step)
        some = Lanes(dtype, min(lanes, n - done), 8, 8)
        strided_sides(core, op, dst + line * REPEAT, left, right, repeat, some)
        done += repeat * lanes


@emits
def two_arguments(core: Any, op: int, step: int, p: Places, now: Now, constant: int) -> None:
    """Compute a step of two arguments, row by row where one of them is a column."""
    a, b, dtype = step >> A_AT & PLACE, step >> B_AT & PLACE, step >> CODE_BITS & 3
    dst, pitch, rows = lies(core, p, now, step >> TO_AT & PLACE), 8, 0
    for place in (a, b):
        if place != CONSTANT and kind_of_place(core, p.sources, place) == COLUMN:
            rows, pitch = now.n // p.columns, p.columns * size_of(core, dtype) // BLOCK
    left = side_of(core, p, now, a, constant, pitch)
    right = side_of(core, p, now, b, constant, pitch)
    if rows == 0:
        apply_sides(core, op, dst, left, right, now.n, dtype)
    else:
        run_binary(core, op, dst, left, right, rows, p.columns, Lanes(dtype, 0, pitch, pitch))


@emits
def choice(core: Any, step: int, p: Places, now: Now, b: Bench, constant: int) -> None:
    """Compute relu_grad(dy, y) or select(condition, x, y)."""
    dtype, dst = step >> CODE_BITS & 3, lies(core, p, now, step >> TO_AT & PLACE)
    first = lies(core, p, now, step >> A_AT & PLACE)
    second = lies(core, p, now, step >> B_AT & PLACE)
    if step & OPERATION == RELU_GRAD:
        choose(core, dst, Choice(second, first, b.zero, b.zero * 0, b.zero, b.bits), 1, now.n, dtype)
    else:
        other = side_of(core, p, now, step >> C_AT & PLACE, constant, 8)
        choose(core, dst, Choice(first, second, other.at, other.blk, b.zero, b.bits), 0, now.n, dtype)


@emits
def compute(core: Any, step: int, p: Places, now: Now, b: Bench, constant: int) -> None:
    """Compute one step for the tile in work."""
    op, dtype, come = step & OPERATION, step >> CODE_BITS & 3, step >> FROM_AT & 3
    if op < FIRST_COMPARISON:
        two_arguments(core, op - FIRST_BINARY, step, p, now, constant)
    elif op < FIRST_UNARY:
        room = b.half if dtype == FP16 else b.full
        test = room * TESTS + FIRST_TEST + op - FIRST_COMPARISON
        two_arguments(core, test, step, p, now, constant)
    elif op in (RELU_GRAD, SELECT):
        choice(core, step, p, now, b, constant)
    else:
        dst = lies(core, p, now, step >> TO_AT & PLACE)
        a = lies(core, p, now, step >> A_AT & PLACE)
        if op == CAST:
            flat_convert(core, dst, dtype, a, come, now.n)
        else:
            one_source(core, op - FIRST_UNARY, dst, a, b.zero, now.n, dtype)


@emits
def spread_columns(core: Any, p: Places, now: Now) -> None:
    """Let each source that is a column be blocks full of one number per row of the tile."""
    for i in range(p.sources & 7):
        if pattern_of(core, p.sources, i) == COLUMN:
            size, rows = size_of(core, type_of_source(core, p.sources, i)), now.n // p.columns
            spread(core, int(p.blocks[i]), lies(core, p, now, i), rows, size, p.scratch)


@emits
def bring_tile(core: Any, h: Any, p: Places, now: Now) -> None:
    """Bring the tile of every source."""
    for i in range(p.sources & 7):
        size, kind = size_of(core, type_of_source(core, p.sources, i)), pattern_of(core, p.sources, i)
        first, count = now.first, now.n
        if kind == COLUMN:
            first, count = now.first // p.columns, now.n // p.columns
        if kind in (SAME, COLUMN):
            to, blocks = lies(core, p, now, i), pitch_bytes(core, count * size) // BLOCK
            data_move(core, to, int(h[i]) + first * size, 1, blocks)


@emits
def send_tile(core: Any, h: Any, p: Places, now: Now) -> None:
    """Write the tile of every result."""
    for i in range(p.results & 3):
        size, place = size_of(core, type_of_result(core, p.results, i)), FIRST_RESULT + i
        blocks = pitch_bytes(core, now.n * size) // BLOCK
        data_move(core, int(h[place]) + now.first * size, lies(core, p, now, place), 1, blocks)


@emits
def stream_steps(core: Any, h: Any, shape: Any, tiling: Any) -> None:
    """Compute this block's share of all results; h holds the handle of each source and result by place."""
    bench, unit = bench_of(core, shape), share_unit(core, shape)
    p = places_of(core, h, shape, whole_rows(core, shape, tiling.tile), tiling.slots)
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, tiling.slots)
    end = share_end(core, shape.n, unit)
    for i in range(share_start(core, shape.n, unit), end, p.tile):
        now = Now(fill(core, q_in), 0 * i, i, min(p.tile, end - i))
        bring_tile(core, h, p, now)
        filled(core, q_in)
        use(core, q_in)
        spread_columns(core, p, now)
        now = Now(now.taken, fill(core, q_out), i, now.n)
        number = 0
        while step_of(core, shape, number) != 0:
            step = step_of(core, shape, number)
            compute(core, step, p, now, bench, bench.constants + number * BLOCK)
            number += 1
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        send_tile(core, h, p, now)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


def _operands(shape: FusedShape) -> tuple[Operand, ...]:
    expression = shape.expression
    lengths = {SAME: shape.n, NUMBER: 1, ROW: shape.columns, COLUMN: shape.rows}
    taken = (Operand(f"x{i}", (lengths[s.pattern],), s.dtype) for i, s in enumerate(expression.sources))
    given = (output(f"y{i}", (shape.n,), expression.type_of(t)) for i, t in enumerate(expression.results))
    return (*taken, *given)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "equal": np.equal, "not_equal": np.not_equal, "less": np.less,
    "less_equal": np.less_equal, "greater": np.greater, "greater_equal": np.greater_equal,
    "relu_grad": lambda dy, y: np.where(y > 0, dy, 0), "select": lambda c, x, y: np.where(c != 0, x, y),
    "exp": np.exp, "log": np.log, "reciprocal": lambda x: 1 / x, "rsqrt": lambda x: 1 / np.sqrt(x),
    "sqrt": np.sqrt, "abs": np.abs, "relu": lambda x: np.maximum(x, 0), "neg": np.negative,
    "square": np.square, "logical_not": lambda x: 1 - x,
}  # fmt: skip
"""What each step but a cast computes."""


def _reference(shape: FusedShape, *given: Array) -> tuple[Array, ...]:
    expression = shape.expression
    table: dict[str, Array] = {}
    for i, (source, array) in enumerate(zip(expression.sources, given, strict=True)):
        rows = {SAME: (shape.rows, -1), COLUMN: (shape.rows, 1)}.get(source.pattern, (1, -1))
        table[f"x{i}"] = array.reshape(rows)
    for number, step in enumerate(expression.steps):
        table[f"t{number}"] = _value(step, table)
    return tuple(table[name].reshape(-1) for name in expression.results)


def _value(step: Step, table: Mapping[str, Array]) -> Array:
    """Return the value of a step, rounded to its type as between two kernels."""
    to: Any = np.float16 if step.dtype == FP16 else np.float32
    given = [table[each] if isinstance(each, str) else np.float32(each).astype(to) for each in step.arguments]
    with np.errstate(all="ignore"):
        if step.op == "cast":
            return np.asarray(given[0].astype(np.float32).astype(to))
        if len(given) == 1:
            return np.asarray(FUNCTIONS[step.op](given[0].astype(np.float64)).astype(to))
        return np.asarray(FUNCTIONS[step.op](*given)).astype(to)


@kernel(FusedShape, FusedTiling, _operands, _reference, optional=True)
def fused(  # noqa: PLR0913, PLR0917 - one handle per operand
    core: Any, x0: int, x1: int, x2: int, x3: int, x4: int, x5: int, y0: int, y1: int, y2: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """y0[n], y1[n], y2[n] = an expression of x0 ... x5, each of them [n], a number, a row or a column."""
    stream_steps(core, (x0, x1, x2, x3, x4, x5, y0, y1, y2), shape, tiling)
