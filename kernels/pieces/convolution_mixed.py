"""Several small images as one tall one in which their rows take turns: row 0 of each, row 1 of each, ...

Windows of an image then see rows that are as many apart as there are images, and never another image: no
rows of zeros lie between images, and the cube multiplies none. Where windows move by `stride` rows, each
`stride`-th row of the images forms a part of its own in L1, so that the windows of one filter row move by one
row of its part. Rows are short runs, which device memory is slow at: images come to UB as they are, and MTE3
brings their rows to their places in L1. Results go the other way about: the vector unit puts the rows of each
image together again.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import data_move, load3d
from kernels.lang.emits import emits
from kernels.lang.queues import fill, filled, free, use
from kernels.pieces.window import Patch, Planes, Window, cross_planes, move_planes

BLOCK, FRACTAL = 32, 512
LANDING_BYTES = 16384
"""So much lands in UB at once, but at least one channel group: enough to hide a transfer's head."""


class Landing(NamedTuple):
    """Where images land in UB, channel groups and bytes of a slot, the queue there, that of chunks in L1."""

    at: int
    groups: int
    slot: int
    q: int
    placed: int


class Channels(NamedTuple):
    """Channel groups `first` to `first + count` of a map, in L1 the ones behind `before` of `total`."""

    first: int
    count: int  # type: ignore[assignment] # hides a method of tuples that nobody calls
    before: int
    total: int


@emits
def rows_in_part(core: Any, window: Window, part: int) -> int:
    """Return how many rows of an image are in one of the `stride_h` parts."""
    return int((window.h - part + window.stride_h - 1) // window.stride_h)


@emits
def rows_before_part(core: Any, window: Window, part: int) -> int:
    """Return how many rows of an image are in the parts before one."""
    return int(window.h // window.stride_h * part + min(part, window.h % window.stride_h))


@emits
def place_mixed(
    core: Any, landing: Landing, dst: int, src: int, apart: int, window: Window, images: int, c: Channels
) -> None:
    """Bring channel groups of images, `apart` blocks apart in GM, to L1, where their rows take turns."""
    for done in range(0, c.count, landing.groups):
        some = Channels(c.first + done, min(landing.groups, c.count - done), c.before + done, c.total)
        start = src + done * window.h * window.w * BLOCK
        place_some(core, landing, dst, start, apart, window, images, some)


@emits
def place_some(
    core: Any, landing: Landing, dst: int, src: int, apart: int, window: Window, images: int, c: Channels
) -> None:
    """Bring as many channel groups as land at once."""
    plane, burst, step = window.h * window.w, window.w, window.stride_h
    there = landing.at + fill(core, landing.q) * landing.slot
    move_planes(core, there, src, images, c.count * plane, c.count * plane, apart)
    filled(core, landing.q)
    use(core, landing.q)
    for part in range(min(step, window.h)):
        rows, before = rows_in_part(core, window, part), rows_before_part(core, window, part)
        at_once = c.count if window.h % step == 0 else 1  # the rows of all groups are equally far apart
        for i in range(images):
            for group in range(0, c.count, at_once):
                place = (before * c.total + (c.before + group) * rows) * images + i
                start = ((i * c.count + group) * window.h + part) * burst
                move_planes(
                    core, dst + place * burst * BLOCK, there + start * BLOCK, at_once * rows, burst,
                    images * burst, step * burst,
                )  # fmt: skip
    free(core, landing.q)


@emits
def unfold_mixed(
    core: Any, dst: int, src: int, window: Window, images: int, groups: int, patch: Patch, dtype: int
) -> None:
    """Write img2col fractals [positions][elements] of images whose rows take turns, `groups` there, to L0A.

    Each instruction takes one filter element: its filter has one row, and positions that see no row of the
    images lie in the padding or behind the end, where everything is zero.
    """
    for i in range(patch.elements):
        k, taken = patch.k + i, window.kh * window.kw
        reach = k % taken // window.kw * window.dilation - window.pad_h
        part, below = reach % window.stride_h, reach // window.stride_h
        rows, above = rows_in_part(core, window, part), max(0, -below)
        skipped = max(0, below)
        if rows == 0:
            skipped = above + 1
        place = rows_before_part(core, window, part) * groups + k // taken * rows
        load3d(
            core, dst + i * FRACTAL, src + place * images * window.w * BLOCK, max(1, rows * images), window.w,
            window.pad_left, window.pad_right, above * images, 0, 1, window.kw, 1, window.stride_w,
            1, window.dilation, skipped * images * window.ow + patch.m * 16, k % window.kw, patch.positions,
            patch.elements, 1, 0, 0, dtype,
        )  # fmt: skip


class Piece(NamedTuple):
    """A piece of a tall result: positions `first` to `first + count`, in UB `there` for each column."""

    first: int
    count: int  # type: ignore[assignment] # hides a method of tuples that nobody calls
    there: int
    columns: int
    images: int
    width: int
    unit: int  # blocks of 32 bytes of a position


@emits
def positions_before(core: Any, piece: Piece, position: int, image: int) -> int:
    """Return how many of the positions before one of the tall result are of one image."""
    row, column = position // piece.width, position % piece.width
    whole = (row - image + piece.images - 1) // piece.images * piece.width
    return int(whole + (column if row % piece.images == image else 0))


@emits
def separate(core: Any, dst: int, src: int, piece: Piece) -> None:
    """Copy a piece in UB to [image][column][position]."""
    to, width, block = dst, piece.width, piece.unit * BLOCK
    for i in range(piece.images):
        start = positions_before(core, piece, piece.first, i)
        end = positions_before(core, piece, piece.first + piece.count, i)
        for n in range(piece.columns):
            done = start
            while done < end:  # what is left of a row, whole rows, the begin of one
                run = min(width - done % width, end - done)
                rows = (end - done) // width if run == width else 1
                there = (done // width * piece.images + i) * width + done % width - piece.first
                gap = (piece.images * width - run) * piece.unit
                data_move(core, to, src + (n * piece.there + there) * block, rows, run * piece.unit, gap, 0)
                to += rows * run * block
                done += rows * run


@emits
def move_separated(core: Any, gm: int, ub: int, piece: Piece, plane: int, apart: int, comes: int) -> None:
    """Write a piece that was separated to images in GM whose planes have so many positions.

    Where it `comes`, bring such a piece from there instead.
    """
    if piece.count == piece.images * plane:
        size = piece.columns * plane * piece.unit
        cross_planes(core, gm, ub, Planes(piece.images, size, apart * piece.unit, size), comes)
        return
    image = ub
    for i in range(piece.images):
        start = positions_before(core, piece, piece.first, i)
        run = (positions_before(core, piece, piece.first + piece.count, i) - start) * piece.unit
        if run > 0:
            there = gm + (i * apart + start) * piece.unit * BLOCK
            cross_planes(core, there, image, Planes(piece.columns, run, plane * piece.unit, run), comes)
            image += piece.columns * run * BLOCK
