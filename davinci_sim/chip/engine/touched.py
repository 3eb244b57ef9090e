"""Whether programs stay with their operands in device memory, as their tasks say."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import HAS_TRANSFER, transfer_of
from davinci_sim.core.program import Program
from davinci_sim.isa.jit import inlined, uncounted_jit
from davinci_sim.isa.machine import Costs, end_of
from davinci_sim.isa.pipes import Pipe
from davinci_sim.platforms import Platform

Numbers = npt.NDArray[np.int64]
_MTE2, _MTE3 = int(Pipe.MTE2), int(Pipe.MTE3)


@inlined
def _is_inside(by_line: Numbers, first: int, last: int) -> bool:
    """Tell whether one region holds lines first..last."""
    for region in range(by_line.shape[0]):
        if by_line[region, 0] <= first and last < by_line[region, 1]:
            return True
    return False


@uncounted_jit
def _stays(
    words: Numbers, costs: Costs, has_transfer: npt.NDArray[np.bool_], by_line: Numbers, line_bytes: int
) -> bool:
    """Tell whether every run of every transfer touches lines of a region only."""
    for r in range(words.shape[0]):
        op, pipe = words[r, 0] & 255, (words[r, 0] >> 8) & 255
        if pipe not in (_MTE2, _MTE3) or not has_transfer[op]:
            continue
        t = transfer_of(words, r, costs)
        if t.bus_bytes == 0 or _is_inside(by_line, t.address // line_bytes, (end_of(t) - 1) // line_bytes):
            continue
        for run in range(t.runs):
            start = t.address + run * t.stride_bytes
            if not _is_inside(by_line, start // line_bytes, (start + t.run_bytes - 1) // line_bytes):
                return False
    return True


def stay_inside(programs: Sequence[Program], platform: Platform, by_line: Numbers) -> bool:
    """Tell whether all that programs move from and to device memory lies in regions of lines."""
    costs, line_bytes = costs_of(platform), int(platform.l2_line_bytes)
    return all(_stays(p.words, costs, HAS_TRANSFER, by_line, line_bytes) for p in programs)
