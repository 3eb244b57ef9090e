"""Counters of a trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from davinci_sim.errors import UnknownName
from davinci_sim.trace import TRACE_DTYPE, Trace

OPS, PIPES = ("", "mmad", "set_flag"), ("", "S", "V", "M")


@pytest.fixture
def small(make_records) -> Callable[[], Trace]:
    """Two cores: the cube of core 0 works 30 cycles, that of core 1 10; the last result is there at 60."""

    def make() -> Trace:
        mmad, flag = {"op": 1, "pipe": 3, "location": 7}, {"op": 2, "pipe": 3}
        rows = [
            {"core": 0, **mmad, "start": 0, "end": 10, "ready": 21, "index": 0},
            {"core": 0, **mmad, "start": 10, "end": 30, "ready": 41, "index": 1},
            {"core": 0, **flag, "start": 30, "end": 31, "ready": 41, "index": 2},
            {"core": 1, **mmad, "start": 39, "end": 49, "ready": 60, "index": 0},
        ]
        return Trace("demo", 2e9, make_records(rows), OPS, PIPES, {7: "kernels/matmul.py:41"})

    return make


def test_a_record_says_what_ran_where_and_when():
    """Columns begin at multiples of their own size, so that compiled code reads them where they are."""
    names = ("start", "end", "ready", "index", "location", "task", "core", "op", "pipe")
    assert TRACE_DTYPE.names == names
    assert TRACE_DTYPE.isalignedstruct
    assert all(offset % dtype.itemsize == 0 for dtype, offset in TRACE_DTYPE.fields.values())


def test_time_is_when_the_last_result_is_there(small):
    """60 cycles at 2 GHz are 30 ns; the last unit was free at 49."""
    trace = small()
    assert (trace.cycles, trace.us, trace.cores) == (60, 0.03, (0, 1))
    assert repr(trace) == "Trace(demo: 4 records on 2 cores, 60 cycles, 0.030 us)"


def test_busy_cycles_count_the_unit_and_not_flags(small):
    """40 of 2 x 60 cycles: from start to end, not until the result is there."""
    trace = small()
    assert (trace.busy_cycles("M"), trace.busy_cycles("M", core=1), trace.busy_cycles("V")) == (40, 10, 0)
    assert trace.utilization("M") == 40 / 120
    assert trace.pipes() == {"M": {"busy_cycles": 40, "utilization": 40 / 120}}


def test_an_empty_trace_takes_no_time():
    """Nothing is divided by zero."""
    trace = Trace("demo", 1e9, np.zeros(0, TRACE_DTYPE), OPS, PIPES, {})
    assert (trace.cycles, trace.us, trace.cores, trace.pipes()) == (0, 0.0, (), {})
    assert trace.utilization("M") == 0.0


def test_an_unknown_pipe_is_refused(small):
    """The gaps in the numbering are no names."""
    with pytest.raises(UnknownName) as error:
        small().busy_cycles("")
    assert str(error.value) == "unknown pipe ''; known: M, S, V"


def test_traces_are_equal_record_for_record(small):
    """One cycle makes a difference, and so does the span of a launch."""
    assert small() == small()
    assert hash(small()) == hash(small())
    later = small().records.copy()
    later["end"][3] += 1
    assert Trace("demo", 2e9, later, OPS, PIPES, small().sources) != small()
    assert replace(small(), spans=((0, 60),)) != small()


def test_utilization_never_exceeds_one_though_results_overlap(small, make_records):
    """A cube that takes a product every 10 cycles, each there 25 cycles later, is busy all the time."""
    products = [
        {"op": 1, "pipe": 3, "start": 10 * n, "end": 10 * n + 10, "ready": 10 * n + 25, "index": n}
        for n in range(100)
    ]
    trace = replace(small(), records=make_records(products))
    assert trace.busy_cycles("M") == 1000
    assert trace.utilization("M") == 1000 / 1015
