"""Plain arrays through UB: some sources come tile by tile, one result leaves, hand-offs with `slots` buffers.

s = open_stream(core, 2, tile, size, slots)
for i in range(start, end, s.tile):
    taken = bring(core, s, a, b, b, i, n)     # b lies s.pitch bytes behind a
    made = room(core, s)
    ...                                       # the vector unit works
    release(core, s)                          # the sources are not needed any more
    send(core, s, y, made, i, n)
close_stream(core, s)
"""

from typing import Any, NamedTuple

from davinci_sim.isa import data_move
from kernels.lang.buffers import FAST_BYTES, UB, alloc
from kernels.lang.emits import emits
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use
from kernels.pieces.rows import pitch_bytes

BLOCK = 32


class Stream(NamedTuple):
    """Hand-offs and buffers: tiles of `tile` elements of `size` bytes, arrays `pitch` bytes apart.

    Elements of the result have `to_size` bytes, its tiles are `to_pitch` bytes apart.
    """

    q_in: int
    q_out: int
    ub_in: int
    ub_out: int
    sources: int
    tile: int
    size: int
    pitch: int
    to_size: int
    to_pitch: int


@emits
def open_stream(core: Any, sources: int, tile: int, size: int, slots: int, apart: int = 0) -> Stream:
    """Open a stream of `sources` arrays; tiles are rounded down to what transfers fastest."""
    return open_tiles(core, sources, fast_tile(core, tile, size), size, size, slots, apart)


@emits
def fast_tile(core: Any, tile: int, size: int) -> int:
    """Return a tile, in elements of `size` bytes, that is rounded down to what transfers fastest."""
    unit = FAST_BYTES // size
    return max(1, tile // unit) * unit


@emits
def open_tiles(
    core: Any, sources: int, tile: int, size: int, to_size: int, slots: int, apart: int = 0
) -> Stream:
    """Open a stream of tiles of just that length, in whose result elements have `to_size` bytes.

    Where instructions read two sources together, `apart` 1 lets them begin in different groups of banks.
    """
    pitch, to_pitch = pitch_bytes(core, tile * size), pitch_bytes(core, tile * to_size)
    if apart != 0:
        pitch = (pitch + 255) // 512 * 512 + 256
    ub_in = alloc(core, UB, slots * sources * pitch, slots * sources)
    ub_out = alloc(core, UB, slots * to_pitch, slots)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    return Stream(q_in, q_out, ub_in, ub_out, sources, tile, size, pitch, to_size, to_pitch)


@emits
def bring(core: Any, s: Stream, a: int, b: int, c: int, i: int, n: int) -> int:
    """Bring n elements from number i on of the first `s.sources` of a, b and c; return where they lie."""
    taken, blocks = s.ub_in + fill(core, s.q_in) * s.sources * s.pitch, pitch_bytes(core, n * s.size) // BLOCK
    for source in range(s.sources):
        array = a if source == 0 else (b if source == 1 else c)
        data_move(core, taken + source * s.pitch, array + i * s.size, 1, blocks)
    filled(core, s.q_in)
    use(core, s.q_in)
    return int(taken)


@emits
def room(core: Any, s: Stream) -> int:
    """Wait for room for a tile of the result; return where."""
    return int(s.ub_out + fill(core, s.q_out) * s.to_pitch)


@emits
def release(core: Any, s: Stream) -> None:
    """Give the buffers of the sources back."""
    free(core, s.q_in)


@emits
def send(core: Any, s: Stream, y: int, made: int, i: int, n: int) -> None:
    """Write n elements of the result from number i on."""
    filled(core, s.q_out)
    use(core, s.q_out)
    data_move(core, y + i * s.to_size, made, 1, pitch_bytes(core, n * s.to_size) // BLOCK)
    free(core, s.q_out)


@emits
def close_stream(core: Any, s: Stream) -> None:
    """Wait until all tiles are through."""
    close(core, s.q_out)
    close(core, s.q_in)
