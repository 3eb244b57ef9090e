"""A made-up trace: a double-buffered matmul on several cores."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.trace import TRACE_DTYPE, Trace

OPS = ("", "data_move", "load2d", "mmad", "set_flag", "wait_flag", "vadd", "move_l0c_ub", "vconv")
PIPES = ("", "S", "V", "M", "MTE1", "MTE2", "MTE3")
SOURCES = {1: "kernels/matmul.py:41", 2: "kernels/matmul.py:52"}


Row = dict[str, int]


def records_of(rows: list[Row]) -> np.ndarray:
    """Return records from rows by field name; a result is there at the end unless `ready` says otherwise."""
    records = np.zeros(len(rows), TRACE_DTYPE)
    for record, row in zip(records, rows, strict=True):
        for field, value in {"ready": row["end"], **row}.items():
            record[field] = value
    return records


def schedule(core: int, steps: int) -> list[Row]:
    """Return the rows of one core: load, feed, multiply, and every fourth step drain and store."""
    rows: list[Row] = []
    free = dict.fromkeys(PIPES, 0)

    def run(pipe: str, op: str, since: int, cycles: int, drain: int = 0, location: int = 0) -> int:
        start = max(free[pipe], since)
        free[pipe] = end = start + cycles
        times = {"start": start, "end": end, "ready": end + drain}
        what = {"pipe": PIPES.index(pipe), "op": OPS.index(op), "location": location, "index": len(rows)}
        rows.append({"core": core, **what, **times})
        return end + drain

    for step in range(steps):
        loaded = run("MTE2", "data_move", 40 * core, 130 + 7 * (core + step) % 30, location=1)
        run("MTE2", "set_flag", loaded, 1)
        fed = run("MTE1", "load2d", run("MTE1", "wait_flag", loaded, 1), 70)
        done = run("M", "mmad", fed, 96, 11, location=2)
        if step % 4 == 3:
            moved = run("V", "move_l0c_ub", done, 40, 22)
            converted = run("V", "vconv", run("V", "vadd", moved, 60, 22), 30, 22)
            run("MTE3", "data_move", converted, 180)
    return rows


@pytest.fixture
def make_records():
    """Return a function that makes records from rows by field name."""
    return records_of


@pytest.fixture
def make_trace():
    """Return a function that makes a trace of so many cores and steps."""

    def make(cores: int = 2, steps: int = 16, clock_hz: float = 1e9) -> Trace:
        rows = [row for core in range(cores) for row in schedule(core, steps)]
        records = np.sort(records_of(rows), order=["core", "start", "index"])
        return Trace("ascend910a", clock_hz, records, OPS, PIPES, SOURCES)

    return make
