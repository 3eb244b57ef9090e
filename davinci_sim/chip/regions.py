"""Where the operands of tasks lie, told so that equal tasks elsewhere in memory say the same.

What a task meets in L2 depends on its lines of device memory only: on the set that each belongs to, on what
that set holds and which of it is the task's own. So the lines of its operands get names, counted from the
first operand on, wherever they lie; all other lines are alike.
"""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.task import Task, Tensor
from davinci_sim.platforms import Platform

Numbers = npt.NDArray[np.int64]
FIRST_NAME = 1
"""Name of the first line of the first operand; 0 is any line that belongs to no operand."""


class Regions(NamedTuple):
    """Ranges of lines that operands share or have for themselves, and what tells them apart.

    `by_line[region] = first line, line behind, name of the first line`, ascending by line; `by_name` has the
    same rows, ascending by name. Sets of L2 are counted from number `shift` on, that of the first operand.
    Equal `place`s are the same but for a shift of all addresses that changes no time. `is_everything` says
    that the only region is all device memory.
    """

    by_line: Numbers
    by_name: Numbers
    shift: int
    place: tuple[object, ...]
    is_everything: bool = False


def regions_of(tasks: Sequence[Task], platform: Platform) -> Regions:
    """Return the regions of the operands of tasks; of one that does not tell its tensors, all memory."""
    line_bytes, sets = int(platform.l2_line_bytes), l2_sets(platform)
    if not all(task.tensors for task in tasks) or line_bytes % int(platform.gm_fast_align_bytes):
        return all_memory(tasks, platform)
    operands = list(chain.from_iterable(task.tensors for task in tasks))
    spans = [_lines(operand, line_bytes) for operand in operands]
    merged = _merged(spans)
    region_of = [next(n for n, (low, high) in enumerate(merged) if low <= first < high) for first, _ in spans]
    by_name, name = [], FIRST_NAME
    order = list(dict.fromkeys(region_of))
    for region in order:
        low, high = merged[region]
        by_name.append((low, high, name))
        name += high - low
    shift = by_name[0][0] % sets if sets else 0
    place = (
        tuple(((low - shift) % sets if sets else 0, high - low) for low, high, _ in by_name),
        tuple(
            (order.index(region), operand.start - merged[region][0] * line_bytes, _extent(operand))
            for region, operand in zip(region_of, operands, strict=True)
        ),
    )
    return _regions(by_name, shift, place)


def all_memory(tasks: Sequence[Task], platform: Platform) -> Regions:
    """Return one region of all device memory, where every line is itself: for tasks that may touch any."""
    lines = -(-int(platform.gm_bytes) // int(platform.l2_line_bytes))
    places = tuple(tuple(sorted(task.operands.items())) for task in tasks)
    return _regions([(0, lines, FIRST_NAME)], 0, places)._replace(is_everything=True)


def l2_sets(platform: Platform) -> int:
    """Return how many sets L2 has; a chip without L2 has none."""
    return int(platform.l2_bytes) // (int(platform.l2_ways) * int(platform.l2_line_bytes))


def _regions(by_name: list[tuple[int, int, int]], shift: int, place: tuple[object, ...]) -> Regions:
    return Regions(np.array(sorted(by_name), dtype=np.int64), np.array(by_name, dtype=np.int64), shift, place)


def _extent(operand: Tensor) -> int:
    return operand.nbytes + operand.padding_bytes


def _lines(operand: Tensor, line_bytes: int) -> tuple[int, int]:
    """Return the first line of an operand and the one behind its last; it has one at least."""
    first = operand.start // line_bytes
    return first, max(first + 1, -(-(operand.start + _extent(operand)) // line_bytes))


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges that do not overlap and cover the same lines, ascending."""
    merged: list[tuple[int, int]] = []
    for first, behind in sorted(spans):
        if merged and first < merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], behind)
        else:
            merged.append((first, behind))
    return merged
