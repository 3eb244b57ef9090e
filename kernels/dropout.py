"""Dropout with a counter-based generator of random numbers that the vector unit computes, and its gradient.

Element e is kept or not by half e % 2 of word e // 2 of a sequence of 32-bit words that a key alone decides:
the same mask for the same key, whatever the length, tiling, type, number of cores or chip. First-generation
vector units have no shifts and no exclusive or; they multiply 32-bit integers (the lower word of the product
is kept) and convert to fp32 and back. Word c is

    x = (c + key[c % 8]) * A;      x = x + upper(x)
    x = x * (x + key[8 + c % 8]);  x = x + upper(x)
    x = x * (x + B);               x = x + upper(x)

modulo 2 ** 32, where upper(x) is x as a signed fp32 number / 65536, rounded to an integer, both to nearest
even. 17 vector cycles make 64 words, which are 128 elements. An element is kept if the lower 14 bits of its
half are below a threshold: as fp16 numbers these bits are positive and in the same order. A key is expanded
from (seed, offset) on the host; it is data, so that a step with another key is the same program.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    ADD,
    FP16,
    FP32,
    INT32,
    MTE2,
    MTE3,
    MUL,
    UB,
    UINT8,
    UINT16,
    Operand,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_binary,
    flat_convert,
    flat_scale,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vadd,
    vand,
    vcmpv_lt,
    vector_dup,
    vmul,
    vsel,
)
from kernels.pieces.broadcast import block_binary
from kernels.pieces.stream import bring, close_stream, open_stream, release, room, send
from kernels.rules import item_bytes, require, round_up
from kernels.tiling.flat import FlatShape, FlatTiling

Array = npt.NDArray[Any]
FIRST, LAST = 0x7FEB352D, 0x9E3779B1
"""A and B of the generator: odd, with bits of no pattern."""
BITS, LEVELS = 0x3FFF, 1 << 14
KEY_WORDS = 16
GROUP = 256
"""Elements whose bits fill a block."""
AT_ONCE = 252
"""Repeats of one instruction, so that the bits of the next begin at a block."""


def dropout_key(seed: int, offset: int = 0) -> Array:
    """Return the key of a mask: other seeds and other offsets (a layer, a step) give independent masks.

    >>> dropout_key(1).shape, bool((dropout_key(1) == dropout_key(1, 1)).any())
    ((16,), False)
    """
    words = np.random.SeedSequence([seed, offset]).generate_state(KEY_WORDS)
    return np.asarray(words.view(np.int32))


def random_words(key: Array, count: int) -> Array:
    """Return the first words of the sequence that a key decides."""
    c = np.arange(count, dtype=np.int32)
    a, b = (np.array(word, np.uint32).view(np.int32) for word in (FIRST, LAST))
    lane = c % 8
    with np.errstate(over="ignore"):
        x = (c + key[:8][lane]) * a
        x += _upper(x)
        x *= x + key[8:][lane]
        x += _upper(x)
        x *= x + b
        return np.asarray(x + _upper(x))


def _upper(x: Array) -> Array:
    return np.asarray(np.rint(x.astype(np.float32) * np.float32(2.0**-16)).astype(np.int32))


def kept(key: Array, count: int, keep: int) -> Array:
    """Return for each of `count` elements (an even number) whether it is kept, at `keep` thousandths."""
    halves = random_words(key, count // 2).view(np.uint16) & BITS
    return np.asarray(halves < threshold(keep))


def threshold(keep: int) -> int:
    """Return how many of 16384 levels are kept at `keep` thousandths: to 3 in 100000 as often as asked for.

    >>> threshold(1000), threshold(500), threshold(900)
    (16384, 8192, 14746)
    """
    return max(1, (keep * LEVELS + 500) // 1000)


@dataclass(frozen=True)
class DropoutShape(FlatShape):
    """n elements of type `dtype`, of which `keep` thousandths are kept and divided by just that share."""

    EXTRA_BYTES: ClassVar[int] = 4
    """Bytes per element and slot beside the data: three arrays of words, bits."""
    keep: int = 900

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot."""
        return 2 * item_bytes(self.dtype) + self.EXTRA_BYTES

    @property
    def mask_bytes(self) -> int:
        """Bytes of the mask, one bit an element, whole blocks."""
        return round_up(self.n, GROUP) // 8

    def check(self, kernel: str) -> None:
        """Refuse other types and shares."""
        super().check(kernel)
        require(kernel, self.keep <= 1000, "keep is from 1 to 1000 thousandths", f"keep={self.keep}")


@dataclass(frozen=True)
class DropoutAddShape(DropoutShape):
    """As DropoutShape, with a residual."""

    EXTRA_BYTES: ClassVar[int] = 8


@dataclass(frozen=True)
class DropoutTiling(FlatTiling):
    """Elements of a tile and buffers of each hand-off; long tiles, in which instructions wait less."""

    LONGEST_BYTES: ClassVar[int] = 40 * 1024


class Words(NamedTuple):
    """Arrays of words: of the counters times A, two to work in; blocks of the key, B, bits, levels, zero."""

    base: int
    x: int
    t: int
    key: int
    last: int
    step: int
    low: int
    level: int
    zero: int


@emits
def integer_block(core: Any, dst: int, value: int, scratch: int) -> None:
    """Fill a block with a 32-bit integer, of which constants of instructions carry only 24 bits."""
    vector_dup(core, dst, 1, 1.0 * (value // 65536 % 65536), INT32, 8)
    vector_dup(core, scratch, 1, 65536.0, INT32, 8)
    vmul(core, dst, dst, scratch, 1, INT32, 8)
    vector_dup(core, scratch, 1, 1.0 * (value % 65536), INT32, 8)
    vadd(core, dst, dst, scratch, 1, INT32, 8)


@emits
def number_words(core: Any, base: int, count: int, block: int) -> None:
    """base[count] = 0, 1, 2 ... by doubling."""
    for lane in range(8):
        vector_dup(core, base, 1, 7.0 - lane, INT32, 8 - lane)
    done = 8
    while done < count:
        vector_dup(core, block, 1, 1.0 * done, INT32, 8)
        block_binary(core, ADD, base + done * 4, base, block, min(done, count - done), INT32)
        done *= 2


@emits
def words_of(core: Any, key: int, start: int, count: int, level: int, q: int) -> Words:
    """Allocate words for tiles of `count` and set the counters of the first tile, from word `start` on."""
    base, t, x = alloc(core, UB, count * 4), alloc(core, UB, count * 4), alloc(core, UB, count * 4)
    blocks = alloc(core, UB, 8 * 32)
    fill(core, q)
    data_move(core, blocks, key, 1, 2)
    filled(core, q)
    w = Words(base, x, t, blocks, blocks + 64, blocks + 96, blocks + 128, blocks + 160, blocks + 192)
    first, scratch = x, t
    number_words(core, base, count, scratch)
    integer_block(core, w.step, start, scratch)
    use(core, q)
    block_binary(core, ADD, base, base, w.step, count, INT32)
    block_binary(core, ADD, base, base, w.key, count, INT32)
    free(core, q)
    integer_block(core, first, FIRST, scratch)
    block_binary(core, MUL, base, base, first, count, INT32)
    integer_block(core, w.step, count * FIRST, scratch)
    integer_block(core, w.last, LAST, scratch)
    vector_dup(core, w.low, 1, 1.0 * BITS, UINT16, 16)
    vector_dup(core, w.level, 1, 1.0 * level, UINT16, 16)
    vector_dup(core, w.zero, 1, 0.0, FP32, 8)
    return w


@emits
def add_upper(core: Any, dst: int, x: int, t: int, count: int) -> None:
    """dst[count] = x + upper(x); dst may be x."""
    flat_convert(core, t, FP32, x, INT32, count)
    flat_scale(core, t, t, count, 1.0 / 65536, 0.0, FP32)
    flat_convert(core, t, INT32, t, FP32, count)
    flat_binary(core, ADD, dst, x, t, count, INT32)


@emits
def next_words(core: Any, w: Words, count: int) -> None:
    """x[count] = the words of the counters, and set these to those of the next tile."""
    add_upper(core, w.x, w.base, w.t, count)
    block_binary(core, ADD, w.base, w.base, w.step, count, INT32)
    for constant in (w.key + 32, w.last):
        block_binary(core, ADD, w.t, w.x, constant, count, INT32)
        flat_binary(core, MUL, w.x, w.x, w.t, count, INT32)
        add_upper(core, w.x, w.x, w.t, count)


@emits
def bits_of_words(core: Any, bits: int, w: Words, n: int) -> None:
    """Set a bit for each of n elements, whole groups, whose half word is below the level."""
    for done in range(0, n, AT_ONCE * 128):
        repeat, at = min(AT_ONCE, (n - done + 127) // 128), w.x + done * 2
        vand(core, at, at, w.low, repeat, UINT16, 128, 1, 1, 0, 8, 8, 0)
        vcmpv_lt(core, bits + done // 8, at, w.level, repeat, FP16, 1, 0, 8, 0)


@emits
def keep_chosen(
    core: Any, made: int, taken: int, bits: int, zero: int, n: int, factor: float, dtype: int
) -> None:
    """made[n] = taken[n] * factor where the bit is 1, else 0; taken is overwritten."""
    lanes = 256 // size_of(core, dtype)
    flat_scale(core, taken, taken, n, factor, 0.0, dtype)
    for done in range(0, n, AT_ONCE * lanes):
        repeat, at = min(AT_ONCE, (n - done + lanes - 1) // lanes), done // lanes * 256
        vsel(core, made + at, taken + at, zero, repeat, bits + done // 8, dtype, lanes, 1, 1, 0, 8, 8, 0)


def _dropout_operands(shape: DropoutShape) -> tuple[Operand, ...]:
    x, key = (
        Operand("x", (shape.n,), shape.dtype),
        Operand("key", (KEY_WORDS,), INT32, between=(-(2**31), 2**31)),
    )
    return x, key, output("y", (shape.n,), shape.dtype), output("mask", (shape.mask_bytes,), UINT8)


def _factor(keep: int) -> float:
    return LEVELS / threshold(keep)


def _chosen(shape: DropoutShape, x: Array, chosen: Array) -> Array:
    scaled = (x.astype(np.float32) * np.float32(_factor(shape.keep))).astype(x.dtype)
    return np.where(chosen[: shape.n], scaled, 0).astype(x.dtype)


def _dropout_reference(shape: DropoutShape, x: Array, key: Array) -> tuple[Array, Array]:
    chosen = kept(key, shape.mask_bytes * 8, shape.keep)
    return _chosen(shape, x, chosen), np.packbits(chosen, bitorder="little")


@emits
def level_of(core: Any, keep: int) -> int:
    """Return `threshold(keep)`."""
    return max(1, (keep * LEVELS + 500) // 1000)


class Arrays(NamedTuple):
    """Handles of what is dropped out, the residual (with two sources), the key, the result and the mask."""

    x: int
    r: int
    key: int
    y: int
    mask: int


@emits
def drop_out(core: Any, a: Arrays, sources: int, shape: Any, tiling: Any) -> None:
    """Compute this block's share of the result and the mask."""
    size, slots, level = size_of(core, shape.dtype), tiling.slots, level_of(core, shape.keep)
    s = open_stream(core, sources, max(GROUP, tiling.tile // GROUP * GROUP), size, slots)
    bits_pitch = (s.tile // 8 + 511) // 512 * 512
    ub_bits = alloc(core, UB, slots * bits_pitch, slots)
    q_key, q_bits = queue(core, MTE2, V, 1), queue(core, V, MTE3, slots)
    start, end = share_start(core, shape.n, GROUP), share_end(core, shape.n, GROUP)
    w = words_of(core, a.key, start // 2, s.tile // 2, level, q_key)
    for i in range(start, end, s.tile):
        n = min(s.tile, end - i)
        whole = (n + GROUP - 1) // GROUP * GROUP
        bits = ub_bits + fill(core, q_bits) * bits_pitch
        next_words(core, w, whole // 2)
        bits_of_words(core, bits, w, whole)
        filled(core, q_bits)
        taken = bring(core, s, a.x, a.r, a.r, i, n)
        made = room(core, s)
        keep_chosen(core, made, taken, bits, w.zero, n, 1.0 * LEVELS / level, shape.dtype)
        if sources > 1:
            flat_binary(core, ADD, made, made, taken + s.pitch, n, shape.dtype)
        release(core, s)
        use(core, q_bits)
        data_move(core, a.mask + i // 8, bits, 1, whole // GROUP)
        free(core, q_bits)
        send(core, s, a.y, made, i, n)
    close(core, q_bits)
    close(core, q_key)
    close_stream(core, s)


@kernel(DropoutShape, DropoutTiling, _dropout_operands, _dropout_reference)
def dropout(core: Any, x: int, key: int, y: int, mask: int, shape: Any, tiling: Any) -> None:
    """y[n] = x[n] / share or 0, each kept with probability share; mask[n / 8] has a 1 for what was kept."""
    drop_out(core, Arrays(x, x, key, y, mask), 1, shape, tiling)


def _dropout_add_operands(shape: DropoutAddShape) -> tuple[Operand, ...]:
    x, *others = _dropout_operands(shape)
    return x, Operand("r", (shape.n,), shape.dtype), *others


def _dropout_add_reference(shape: DropoutAddShape, x: Array, r: Array, key: Array) -> tuple[Array, Array]:
    y, mask = _dropout_reference(shape, x, key)
    return y + r, mask


@kernel(DropoutAddShape, DropoutTiling, _dropout_add_operands, _dropout_add_reference)
def dropout_add(core: Any, x: int, r: int, key: int, y: int, mask: int, shape: Any, tiling: Any) -> None:
    """y[n] = r[n] + what dropout gives for x[n], rounded in between; mask as there."""
    drop_out(core, Arrays(x, r, key, y, mask), 2, shape, tiling)


def _grad_operands(shape: DropoutShape) -> tuple[Operand, ...]:
    dy, mask = (
        Operand("dy", (shape.n,), shape.dtype),
        Operand("mask", (shape.mask_bytes,), UINT8, between=(0, 256)),
    )
    return dy, mask, output("dx", (shape.n,), shape.dtype)


def _grad_reference(shape: DropoutShape, dy: Array, mask: Array) -> tuple[Array]:
    return (_chosen(shape, dy, np.unpackbits(mask.view(np.uint8), bitorder="little") == 1),)


@kernel(DropoutShape, DropoutTiling, _grad_operands, _grad_reference)
def dropout_grad(core: Any, dy: int, mask: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] / share where mask[n / 8] has a 1, else 0."""
    size, slots, level = size_of(core, shape.dtype), tiling.slots, level_of(core, shape.keep)
    s = open_stream(core, 1, max(GROUP, tiling.tile // GROUP * GROUP), size, slots)
    pitch = (s.tile // 8 + 511) // 512 * 512
    ub_bits, zero = alloc(core, UB, slots * pitch, slots), alloc(core, UB, 32)
    q_bits = queue(core, MTE2, V, slots)
    vector_dup(core, zero, 1, 0.0, FP32, 8)
    end = share_end(core, shape.n, GROUP)
    for i in range(share_start(core, shape.n, GROUP), end, s.tile):
        n = min(s.tile, end - i)
        bits = ub_bits + fill(core, q_bits) * pitch
        data_move(core, bits, mask + i // 8, 1, (n + GROUP - 1) // GROUP)
        filled(core, q_bits)
        taken = bring(core, s, dy, dy, dy, i, n)
        use(core, q_bits)
        made = room(core, s)
        keep_chosen(core, made, taken, bits, zero, n, 1.0 * LEVELS / level, shape.dtype)
        free(core, q_bits)
        release(core, s)
        send(core, s, dx, made, i, n)
    close(core, q_bits)
    close_stream(core, s)
