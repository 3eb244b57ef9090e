"""Which keys an element-wise kernel has for two tensors that broadcast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, zip_longest

from framework.ops.lowering.launch import NotOnDevice

SAME, SCALAR, ROW, COLUMN, AXES = range(5)
"""How the second operand of a binary kernel meets the first; AXES is any way, with up to five axes."""
BOTH, ONLY_A, ONLY_B = range(3)
MOST_AXES = 5

Runs = list[tuple[int, int]]
"""(length, who has it) of axes of which no two neighbours have the same owners."""


def runs(a: Sequence[int], b: Sequence[int]) -> Runs:
    """Return the axes of two shapes that broadcast, neighbours of one kind joined, ones left out.

    >>> runs((8, 1, 5, 6), (5, 6))
    [(8, 1), (30, 0)]
    """
    pairs = list(zip_longest(reversed(a), reversed(b), fillvalue=1))[::-1]
    kinds = [
        (max(pair), BOTH if pair[0] == pair[1] else ONLY_A if pair[1] == 1 else ONLY_B)
        for pair in pairs
        if max(pair) > 1
    ]
    joined = groupby(kinds, lambda each: each[1])
    return [(math.prod(length for length, _ in same), kind) for kind, same in joined]


def keys(kernel: str, a: Sequence[int], b: Sequence[int]) -> dict[str, int]:
    """Return the shape keys of c = a op b.

    >>> keys("add", (32, 16, 128, 128), (32, 1, 1, 128))
    {'n': 8388608, 'pattern': 4, 'lacks': 256, 'd0': 1, 'd1': 1, 'd2': 32, 'rows': 2048}
    """
    found = runs(a, b)
    kinds, n = [kind for _, kind in found], math.prod(length for length, _ in found)
    if kinds in ([], [BOTH]):
        return {"n": n, "pattern": SAME}
    if kinds == [ONLY_A]:
        return {"n": n, "rows": 1, "pattern": SCALAR}
    if kinds in ([ONLY_A, BOTH], [BOTH, ONLY_A]):
        return {"n": n, "rows": found[0][0], "pattern": ROW if kinds[0] == ONLY_A else COLUMN}
    if len(found) > MOST_AXES:
        both = f"{tuple(a)} with {tuple(b)}"
        raise NotOnDevice(f"{kernel} broadcasts over {MOST_AXES} groups of axes at most, not {both}")
    found = [(1, BOTH)] * (MOST_AXES - len(found)) + found
    lacks = sum(
        1 << at + (MOST_AXES if kind == ONLY_A else 0) for at, (_, kind) in enumerate(found) if kind != BOTH
    )
    lengths = zip(("d0", "d1", "d2", "rows"), (length for length, _ in found), strict=False)
    return {"n": n, "pattern": AXES, "lacks": lacks, **dict(lengths)}
