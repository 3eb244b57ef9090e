"""Reductions over any axes as launches of the reduction kernels, each of which reduces one group of axes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from kernels.rules import round_up
from kernels.tiling.reduction import CELL, LANES, MAX_COLUMNS

MIN_PART, MIN_SHARE, MUCH = 4096, 65536, 5_000_000
"""Numbers of a part; those of a core, and of all cores, from which on a second launch is worth its start."""


@dataclass(frozen=True)
class Reduction:
    """One launch: a kernel, its shape keys, and the element types of x and y.

    It takes what the one before it gave, in the order of memory.
    """

    kernel: str
    axes: Mapping[str, int]
    dtype: str
    out_dtype: str


def reduction_launches(
    kernel: str, shape: Sequence[int], axes: Sequence[int], dtype: str, cores: int
) -> tuple[Reduction, ...]:
    """Return the launches that reduce a tensor over `axes`; none if there is nothing to reduce.

    Partial results are fp32. Axes of one element are left out and neighbours that share their fate merged;
    groups of axes are reduced from the last to the first, the axis of each in parts where too few cores
    would have work.

    >>> [dict(step.axes) for step in reduction_launches("reduce_sum", (8, 30, 5, 6), (0, 2, 3), "fp16", 32)]
    [{'m': 240, 'n': 30, 'axis': 1}, {'b': 1, 'm': 8, 'n': 30, 'axis': 0}]
    """
    chosen = {axis % len(shape) for axis in axes}
    kept = [(axis in chosen, length) for axis, length in enumerate(shape) if length > 1]
    groups = [(fate, math.prod(n for _, n in same)) for fate, same in groupby(kept, lambda each: each[0])]
    problems = []
    while any(is_reduced for is_reduced, _ in groups):
        last = max(at for at, (is_reduced, _) in enumerate(groups) if is_reduced)
        before, after = groups[:last], groups[last + 1 :]
        problems.append((math.prod(n for _, n in before), groups[last][1], math.prod(n for _, n in after)))
        groups = before + after
    steps = [step for problem in problems for step in _in_parts(kernel, *problem, cores)]
    types = [dtype, *["fp32"] * (len(steps) - 1), dtype]
    return tuple(
        Reduction(name, keys, first, second)
        for (name, keys), first, second in zip(steps, types, types[1:], strict=False)
    )


Step = tuple[str, dict[str, int]]


def _in_parts(kernel: str, b: int, m: int, n: int, cores: int) -> list[Step]:
    """Return the launches that reduce the middle axis of x[b, m, n]."""
    then = "reduce_sum" if kernel == "reduce_mean" else kernel  # the first launch divides by all
    if n == 1:
        return _rows(kernel, then, b, m, cores)
    together = _together(b, m, n, cores)
    if together > 1:
        rest = _in_parts(kernel, b, together, n, cores)
        return [*_in_parts(kernel, b, m // together, together * n, cores), *rest]
    parts = _parts(b, m, n, cores)
    first = {"b": b, "m": m, "n": n, "axis": 0}
    if parts < 2:
        return [(kernel, first)]
    return [(kernel, first | {"parts": parts}), (then, first | {"m": parts})]


def _parts(b: int, m: int, n: int, cores: int) -> int:
    """Return the parts of rows with which every core has long pieces of them; 1 where that does not pay."""
    if n % CELL != 0 or b >= cores or m * n < MIN_SHARE:
        return 1
    if 2 * b * max(1, n // LANES) > cores and b * m * n < MUCH:
        return 1
    pieces = 1 << max(1, b * n // MAX_COLUMNS).bit_length() - 1  # a power of two, as most counts of cores are
    return max(1, min(cores // pieces, m * n // MIN_PART))


def _rows(kernel: str, then: str, rows: int, n: int, cores: int) -> list[Step]:
    """Return the launches that reduce each of some rows."""
    groups = -(-rows // CELL)
    parts = min(cores // groups, n // MIN_PART) if rows * n // groups >= MIN_SHARE else 1
    first = {"m": rows, "n": n, "axis": 1}
    if parts < 2:
        return [(kernel, first)]
    return [(kernel, first | {"parts": parts}), (then, {"m": rows, "n": parts * CELL, "axis": 1})]


def _together(b: int, m: int, n: int, cores: int) -> int:
    """Return how many rows are taken as one: where few columns would leave cores or lanes without work."""
    if n >= LANES or b >= cores or b * m * n < MIN_SHARE:
        return 1
    fitting = [count for count in range(2, MAX_COLUMNS // n + 1) if m % count == 0 and m // count > 1]
    aligned = [count for count in fitting if count * n % CELL == 0]
    wide = [count for count in aligned if count * n >= LANES]
    return min(wide, key=lambda count: (round_up(count * n, LANES) - count * n, count)) if wide else 1
