"""Counters of a trace."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import UnknownName
from davinci_sim.trace import TRACE_DTYPE, Trace

OPS, PIPES = ("", "mmad", "set_flag"), ("", "S", "V", "M")


def small() -> Trace:
    """Two cores: the cube of core 0 works 30 cycles, that of core 1 works 10; the last record ends at 50."""
    rows = [(0, 3, 1, 0, 10, 7, 0), (0, 3, 1, 20, 40, 7, 1), (0, 3, 2, 40, 41, 0, 2), (1, 3, 1, 40, 50, 7, 0)]
    return Trace("demo", 2e9, np.array(rows, TRACE_DTYPE), OPS, PIPES, {7: "kernels/matmul.py:41"})


def test_time_is_the_end_of_the_last_record():
    """50 cycles at 2 GHz are 25 ns."""
    trace = small()
    assert (trace.cycles, trace.us, trace.cores) == (50, 0.025, (0, 1))
    assert repr(trace) == "Trace(demo: 4 records on 2 cores, 50 cycles, 0.025 us)"


def test_busy_cycles_count_work_and_not_flags():
    """40 of 2 x 50 cycles."""
    trace = small()
    assert (trace.busy_cycles("M"), trace.busy_cycles("M", core=1), trace.busy_cycles("V")) == (40, 10, 0)
    assert trace.utilization("M") == 0.4
    assert trace.pipes() == {"M": {"busy_cycles": 40, "utilization": 0.4}}


def test_an_empty_trace_takes_no_time():
    """Nothing is divided by zero."""
    trace = Trace("demo", 1e9, np.zeros(0, TRACE_DTYPE), OPS, PIPES, {})
    assert (trace.cycles, trace.us, trace.cores, trace.pipes()) == (0, 0.0, (), {})
    assert trace.utilization("M") == 0.0


def test_an_unknown_pipe_is_refused():
    """The gaps in the numbering are no names."""
    with pytest.raises(UnknownName) as error:
        small().busy_cycles("")
    assert str(error.value) == "unknown pipe ''; known: M, S, V"


def test_traces_are_equal_record_for_record():
    """One cycle makes a difference."""
    assert small() == small()
    assert hash(small()) == hash(small())
    later = small().records.copy()
    later["end"][3] += 1
    assert Trace("demo", 2e9, later, OPS, PIPES, small().sources) != small()


def test_utilization_never_exceeds_one(make_trace):
    """The records of one pipe do not overlap, so no pipe is busier than time."""
    for pipe in make_trace(cores=4).pipes().values():
        assert 0 < pipe["utilization"] <= 1
