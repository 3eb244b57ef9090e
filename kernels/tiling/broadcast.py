"""The shortest form of a broadcast of two shapes, as the keys of an element-wise kernel."""

import math
from collections.abc import Sequence
from itertools import groupby, zip_longest

from davinci_sim.errors import ShapeMismatch
from kernels.pieces.broadcast import AXES, COLUMN, NUMBER, ROW, SAME

MOST_AXES = 5
BOTH, ONLY_A, ONLY_B = range(3)


def merged(a: Sequence[int], b: Sequence[int]) -> list[tuple[int, int]]:
    """Return (length, who has it) of the axes of a op b: neighbours of one kind are one, ones are left out.

    >>> merged((8, 1, 5, 6), (5, 6))
    [(8, 1), (30, 0)]
    """
    pairs = list(zip_longest(reversed(tuple(a)), reversed(tuple(b)), fillvalue=1))[::-1]
    if any(1 not in {left, right} and left != right for left, right in pairs):
        raise ShapeMismatch(
            f"shapes {tuple(a)} and {tuple(b)} cannot be broadcast\n"
            "  rule: from the last axis on, lengths are equal or one of them is 1\n  next: change a shape"
        )
    kinds = [
        (max(pair), BOTH if pair[0] == pair[1] else ONLY_A if pair[1] == 1 else ONLY_B)
        for pair in pairs
        if max(pair) > 1
    ]
    return [
        (math.prod(length for length, _ in same), kind) for kind, same in groupby(kinds, lambda each: each[1])
    ]


def binary_axes(a: Sequence[int], b: Sequence[int]) -> dict[str, int]:
    """Return the shape keys of c = a op b for any shapes that broadcast to at most five merged axes.

    >>> binary_axes((32, 64, 56, 56), (64, 1, 1))["lacks"] >> 5
    20
    """
    axes = merged(a, b)
    kinds = [kind for _, kind in axes]
    n = math.prod(length for length, _ in axes)
    if kinds in ([], [BOTH]):
        return {"n": n, "pattern": SAME}
    if kinds == [ONLY_A]:
        return {"n": n, "pattern": NUMBER}
    if kinds == [ONLY_A, BOTH]:
        return {"n": n, "rows": axes[0][0], "pattern": ROW}
    if kinds == [BOTH, ONLY_A]:
        return {"n": n, "rows": axes[0][0], "pattern": COLUMN}
    if len(axes) > MOST_AXES:
        raise ShapeMismatch(
            f"shapes {tuple(a)} and {tuple(b)} alternate {len(axes)} times between those who have an axis\n"
            f"  rule: at most {MOST_AXES} axes are left where neighbours of one kind are merged\n"
            "  next: copy one of them to the shape of the result first"
        )
    axes = [(1, BOTH)] * (MOST_AXES - len(axes)) + axes
    lacks = sum(
        1 << axis + (5 if kind == ONLY_A else 0) for axis, (_, kind) in enumerate(axes) if kind != BOTH
    )
    names = zip(("d0", "d1", "d2", "rows"), axes, strict=False)
    return {"n": n, "pattern": AXES, "lacks": lacks, **{name: length for name, (length, _) in names}}
