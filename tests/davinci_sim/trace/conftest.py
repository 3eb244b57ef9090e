"""A made-up trace: a double-buffered matmul on several cores."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.trace import TRACE_DTYPE, Trace

OPS = ("", "data_move", "load2d", "mmad", "set_flag", "wait_flag", "vadd", "move_l0c_ub", "vconv")
PIPES = ("", "S", "V", "M", "MTE1", "MTE2", "MTE3")
SOURCES = {1: "kernels/matmul.py:41", 2: "kernels/matmul.py:52"}


def schedule(core: int, steps: int) -> list[tuple[int, int, int, int, int, int, int]]:
    """Return the rows of one core: load, feed, multiply, and every fourth step drain and store."""
    rows: list[tuple[int, int, int, int, int, int, int]] = []
    free = dict.fromkeys(PIPES, 0)

    def run(pipe: str, op: str, ready: int, cycles: int, location: int = 0) -> int:
        start = max(free[pipe], ready)
        free[pipe] = start + cycles
        rows.append((core, PIPES.index(pipe), OPS.index(op), start, start + cycles, location, len(rows)))
        return start + cycles

    for step in range(steps):
        loaded = run("MTE2", "data_move", 40 * core, 130 + 7 * (core + step) % 30, 1)
        run("MTE2", "set_flag", loaded, 1)
        fed = run("MTE1", "load2d", run("MTE1", "wait_flag", loaded, 1), 70)
        done = run("M", "mmad", fed, 96, 2)
        if step % 4 == 3:
            drained = run("V", "vconv", run("V", "vadd", run("V", "move_l0c_ub", done, 40), 60), 30)
            run("MTE3", "data_move", drained, 180)
    return rows


@pytest.fixture
def make_trace():
    """Return a function that makes a trace of so many cores and steps."""

    def make(cores: int = 2, steps: int = 16, clock_hz: float = 1e9) -> Trace:
        rows = [row for core in range(cores) for row in schedule(core, steps)]
        records = np.sort(np.array(rows, TRACE_DTYPE), order=["core", "start", "index"])
        return Trace("ascend910a", clock_hz, records, OPS, PIPES, SOURCES)

    return make
