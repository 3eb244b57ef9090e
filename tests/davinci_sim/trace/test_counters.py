"""Curves beside a trace: means over equal parts of the time."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import kernels
from davinci_sim.platforms import platform
from davinci_sim.trace import write_chrome_trace
from davinci_sim.trace.counters import INTERVALS, counters, level
from davinci_sim.trace.ledger import partners
from kernels.profile import profile
from kernels.roofline import gm_bytes

spans = st.lists(st.tuples(st.integers(0, 900), st.integers(1, 90), st.integers(0, 10**6)), max_size=20)


@given(spans)
def test_what_comes_in_all_intervals_is_everything(drawn):
    starts, lengths, amounts = np.array(drawn, dtype=np.int64).reshape(-1, 3).T
    edges = np.array([0, 10, 500, 501, 1000])
    found = level(starts, starts + lengths, amounts, edges)
    assert np.isclose((found * np.diff(edges)).sum(), amounts.sum())


def profiled():
    """Return the profile of a small addition."""
    add = kernels.find("add")
    return profile(add, add.shape_type.of("add", {"n": 50_000}), platform("ascend910a"))


def test_curves_integrate_to_work_and_bytes():
    found = profiled()
    curves = {curve.name: curve for curve in counters(found.trace, found.task.programs)}
    assert set(curves) == {"cube units at work", "vector units at work", "GM reads", "GM writes"}
    assert len(curves["GM reads"].starts) <= INTERVALS
    ends = np.append(curves["GM reads"].starts[1:], found.cycles)
    whole = {name: float((c.values * (ends - c.starts)).sum()) for name, c in curves.items()}
    reads, writes = gm_bytes(found.task)
    expected = (0, found.trace.busy_cycles("V"), reads, writes)
    assert np.allclose([whole[name] for name in curves], expected)
    assert curves["vector units at work"].values.max() <= len(found.trace.cores)


def test_without_programs_only_units_are_drawn():
    assert [curve.name for curve in counters(profiled().trace)] == [
        "cube units at work",
        "vector units at work",
    ]


def test_arrows_lead_from_every_set_to_its_wait(tmp_path):
    """In the file: a pair of ends for each flag, at the starts of the two instructions."""
    found = profiled()
    write_chrome_trace(found.trace, tmp_path / "trace.json", found.task.programs)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    tails, heads = ({e["id"]: e for e in events if e["ph"] == phase} for phase in "sf")
    first, pairs = 0, []
    for program in found.task.programs:
        rows = found.trace.records[first : first + len(program)]
        mates = partners(program)
        pairs += [
            (int(rows["start"][r]), int(rows["start"][mates[r]]))
            for r in range(len(program))
            if found.trace.op_names[rows["op"][r]] == "set_flag"
        ]
        first += len(program)
    drawn = [(round(tails[n]["ts"] * 1000), round(heads[n]["ts"] * 1000)) for n in sorted(tails)]
    assert drawn == pairs
    assert all(tail["name"] == heads[n]["name"] for n, tail in tails.items())
