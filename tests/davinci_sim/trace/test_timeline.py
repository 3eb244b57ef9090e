"""The timeline is a picture of the announced size, and joining records loses no visible time."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from davinci_sim.errors import DavinciError
from davinci_sim.trace import TRACE_DTYPE, Trace, draw_timeline
from davinci_sim.trace.timeline import shares


def png_size(path) -> tuple[int, int]:
    """Return width and height from the header of a PNG."""
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", header[16:24])


@pytest.mark.parametrize("cores", [1, 4])
def test_the_picture_has_1600_by_700_pixels(tmp_path, make_trace, cores):
    """Whatever is shown."""
    draw_timeline(make_trace(cores=4), tmp_path / "timeline.png", "matmul", cores=cores)
    assert png_size(tmp_path / "timeline.png") == (1600, 700)


def test_an_empty_trace_can_be_drawn(tmp_path):
    """A kernel without instructions is no error."""
    trace = Trace("demo", 1e9, np.zeros(0, TRACE_DTYPE), ("",), ("",), {})
    draw_timeline(trace, tmp_path / "timeline.png", "nothing")
    assert png_size(tmp_path / "timeline.png") == (1600, 700)


def test_the_shares_of_a_pipe_add_up_to_its_busy_time(make_trace):
    """A dense row shows as much work as there is, interval by interval."""
    trace = make_trace(cores=1, steps=5000)
    cube = trace.work[trace.work["pipe"] == trace.pipe_names.index("M")]
    edges = np.linspace(0, trace.cycles, 401)
    part = shares(cube, edges)
    assert part.min() >= 0
    assert part.max() <= 1
    assert part.mean() == pytest.approx(trace.utilization("M"))
    assert shares(cube[:1], np.array([0.0, cube["start"][0], cube["end"][0], 1e9])).tolist() == [0, 1, 0]
    assert shares(cube[:0], edges).sum() == 0


def test_the_shares_are_those_of_records_in_any_order(make_trace):
    """Blocks of two launches may take turns on a core, while records come launch by launch."""
    trace = make_trace(cores=1, steps=50)
    cube = trace.work[trace.work["pipe"] == trace.pipe_names.index("M")]
    edges = np.linspace(0, trace.cycles, 41)
    assert shares(cube[::-1], edges) == pytest.approx(shares(cube, edges))


@pytest.mark.parametrize("steps", [16, 5000])
def test_a_long_trace_can_be_drawn(tmp_path, make_trace, steps):
    """Bars and shares both."""
    draw_timeline(make_trace(cores=1, steps=steps), tmp_path / "timeline.png", "matmul")
    assert png_size(tmp_path / "timeline.png") == (1600, 700)


def test_too_many_cores_are_refused(tmp_path, make_trace):
    """The message says how many and what to do instead."""
    with pytest.raises(DavinciError) as error:
        draw_timeline(make_trace(), tmp_path / "timeline.png", "matmul", cores=32)
    assert str(error.value) == "a timeline shows 1 to 4 cores, not 32; write a Chrome trace for all"
