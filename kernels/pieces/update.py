"""Streams of several arrays of fp32 at once, as weight updates read and write them.

Up to four arrays come to UB tile by tile, up to three leave. The last source may be fp16: it is widened on
arrival. A kernel opens the streams, and for each tile takes the sources, computes and gives the results:

    u = open_update(core, 2, 1, 0, half, tiling)
    end = share_end(core, n, UNIT)
    for i in range(share_start(core, n, UNIT), end, u.tile):
        count = min(u.tile, end - i)
        at = take_tiles(core, u, Arrays(w, g, NONE, NONE), i, count)
        made = make_tiles(core, u)
        ...
        give_tiles(core, u, made, Arrays(w_new, NONE, NONE, NONE), i, count)
    close_update(core, u)
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, data_move
from kernels.lang.buffers import FAST_BYTES, UB, alloc
from kernels.lang.emits import emits
from kernels.lang.flat import flat_convert, flat_scale
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use

SIZE, BLOCK, ROOM = 4, 32, 256
"""Bytes of a number, of a block, and after each array, so that the next begins in other banks."""
UNIT = FAST_BYTES // SIZE
"""Shares of cores are multiples of so many elements."""
NONE = -1


class Arrays(NamedTuple):
    """Arrays in GM, NONE where there are fewer."""

    first: int
    second: int
    third: int
    fourth: int


class Update(NamedTuple):
    """Hand-offs and buffers: arrays of a tile lie `pitch` bytes apart; `half` tells that the last is fp16."""

    q_in: int
    q_out: int
    ub_in: int
    ub_out: int
    wide: int
    spare: int
    tile: int
    pitch: int
    sources: int
    results: int
    half: int


@emits
def open_update(core: Any, sources: int, results: int, spares: int, half: int, tiling: Any) -> Any:
    """Open the streams of `sources` arrays in and `results` arrays out; the last source is fp16 if `half`.

    `spares` are tiles for intermediate results, `pitch` bytes apart.
    """
    tile, slots = max(1, tiling.tile // 128) * 128, tiling.slots
    pitch = tile * SIZE + ROOM
    ub_in = alloc(core, UB, slots * sources * pitch, slots * sources)
    ub_out = alloc(core, UB, slots * results * pitch, slots * results)
    wide, spare = alloc(core, UB, half * pitch), alloc(core, UB, spares * pitch)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    return Update(q_in, q_out, ub_in, ub_out, wide, spare, tile, pitch, sources, results, half)


@emits
def load_tile(core: Any, u: Any, to: int, index: int, gm: int, i: int, n: int) -> None:
    """Fetch n elements from the i-th on of source `index`."""
    if index >= u.sources:
        return
    size = SIZE // 2 if u.half != 0 and index == u.sources - 1 else SIZE
    data_move(core, to + index * u.pitch, gm + i * size, 1, (n * size + BLOCK - 1) // BLOCK)


@emits
def take_tiles(core: Any, u: Any, arrays: Any, i: int, n: int) -> int:
    """Fetch a tile of every source and wait for it; return where the first lies."""
    to = u.ub_in + fill(core, u.q_in) * u.sources * u.pitch
    load_tile(core, u, to, 0, arrays.first, i, n)
    load_tile(core, u, to, 1, arrays.second, i, n)
    load_tile(core, u, to, 2, arrays.third, i, n)
    load_tile(core, u, to, 3, arrays.fourth, i, n)
    filled(core, u.q_in)
    use(core, u.q_in)
    return int(to)


@emits
def last_source(core: Any, u: Any, taken: int, n: int) -> int:
    """Return where the last source lies in fp32."""
    last = taken + (u.sources - 1) * u.pitch
    if u.half == 0:
        return int(last)
    flat_convert(core, u.wide, FP32, last, FP16, n)
    return int(u.wide)


@emits
def unscaled_source(core: Any, u: Any, taken: int, n: int, shift: int) -> int:
    """Return where the last source lies in fp32, divided by 2 ** shift."""
    at = last_source(core, u, taken, n)
    if shift != 0:
        flat_scale(core, at, at, n, 1.0 / (1 << shift), 0.0, FP32)
    return int(at)


@emits
def make_tiles(core: Any, u: Any) -> int:
    """Wait for room for a tile of every result; return where the first goes."""
    return int(u.ub_out + fill(core, u.q_out) * u.results * u.pitch)


@emits
def store_tile(core: Any, u: Any, made: int, index: int, gm: int, i: int, n: int) -> None:
    """Write n elements from the i-th on of result `index`."""
    if index < u.results:
        data_move(core, gm + i * SIZE, made + index * u.pitch, 1, (n * SIZE + BLOCK - 1) // BLOCK)


@emits
def give_tiles(core: Any, u: Any, made: int, arrays: Any, i: int, n: int) -> None:
    """Give the sources back, and write a tile of every result."""
    free(core, u.q_in)
    filled(core, u.q_out)
    use(core, u.q_out)
    store_tile(core, u, made, 0, arrays.first, i, n)
    store_tile(core, u, made, 1, arrays.second, i, n)
    store_tile(core, u, made, 2, arrays.third, i, n)
    free(core, u.q_out)


@emits
def close_update(core: Any, u: Any) -> None:
    """Close the streams."""
    close(core, u.q_out)
    close(core, u.q_in)
