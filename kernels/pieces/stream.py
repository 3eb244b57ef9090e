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

BLOCK = 32


class Stream(NamedTuple):
    """Hand-offs and buffers: tiles of `tile` elements of `size` bytes, arrays `pitch` bytes apart."""

    q_in: int
    q_out: int
    ub_in: int
    ub_out: int
    sources: int
    tile: int
    size: int
    pitch: int


@emits
def open_stream(core: Any, sources: int, tile: int, size: int, slots: int) -> Stream:
    """Open a stream of `sources` arrays; tiles are rounded down to what transfers fastest."""
    unit = FAST_BYTES // size
    tile = max(1, tile // unit) * unit
    pitch = tile * size
    ub_in = alloc(core, UB, slots * sources * pitch, slots * sources)
    ub_out = alloc(core, UB, slots * pitch, slots)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    return Stream(q_in, q_out, ub_in, ub_out, sources, tile, size, pitch)


@emits
def bring(core: Any, s: Stream, a: int, b: int, c: int, i: int, n: int) -> int:
    """Bring n elements from number i on of the first `s.sources` of a, b and c; return where they lie."""
    taken = s.ub_in + fill(core, s.q_in) * s.sources * s.pitch
    for source in range(s.sources):
        array = a if source == 0 else (b if source == 1 else c)
        data_move(core, taken + source * s.pitch, array + i * s.size, 1, (n * s.size + BLOCK - 1) // BLOCK)
    filled(core, s.q_in)
    use(core, s.q_in)
    return int(taken)


@emits
def room(core: Any, s: Stream) -> int:
    """Wait for room for a tile of the result; return where."""
    return int(s.ub_out + fill(core, s.q_out) * s.pitch)


@emits
def release(core: Any, s: Stream) -> None:
    """Give the buffers of the sources back."""
    free(core, s.q_in)


@emits
def send(core: Any, s: Stream, y: int, made: int, i: int, n: int) -> None:
    """Write n elements of the result from number i on."""
    filled(core, s.q_out)
    use(core, s.q_out)
    data_move(core, y + i * s.size, made, 1, (n * s.size + BLOCK - 1) // BLOCK)
    free(core, s.q_out)


@emits
def close_stream(core: Any, s: Stream) -> None:
    """Wait until all tiles are through."""
    close(core, s.q_out)
    close(core, s.q_in)
