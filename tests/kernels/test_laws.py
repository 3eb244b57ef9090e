"""Laws of time that hold for every kernel."""

import pytest

import kernels
from davinci_sim.chip import Chip
from davinci_sim.chip.simulate import simulate
from davinci_sim.platforms import platform
from davinci_sim.platforms.figure import assumed
from kernels.run import place

PLATFORM = platform("ascend910a")
LAUNCHES = {
    "matmul": {"m": 200, "k": 300, "n": 150},
    "conv2d": {"n": 8, "c": 16, "h": 14, "w": 14, "o": 32, "kh": 3, "kw": 3, "pad": 1},
    "conv2d_backward_filter": {
        "n": 8,
        "c": 16,
        "h": 14,
        "w": 14,
        "o": 32,
        "kh": 3,
        "kw": 3,
        "pad": 1,
        "splits": 8,
    },
    "add": {"n": 300_000},
    "max_pool": {"n": 16, "c": 16, "h": 28, "w": 28, "kh": 2, "kw": 2, "stride": 2},
    "reduce_sum": {"m": 300, "n": 500},
    "nchw_to_nc1hwc0": {"n": 8, "c": 20, "h": 28, "w": 28},
}


def programs_of(name):
    """Return the programs of a launch."""
    kernel = kernels.find(name)
    return place(kernel, kernel.shape_type.of(name, LAUNCHES[name]), None, Chip(PLATFORM)).task.programs


@pytest.mark.parametrize("name", LAUNCHES)
def test_more_bandwidth_is_never_slower(name):
    """The same programs on a chip with a wider memory end no later."""
    programs = programs_of(name)
    widths = (150, 300, 600, 1100, 4000)
    chips = [
        PLATFORM.with_figures("what-if", hbm_bytes_per_cycle=assumed(w, "B/cycle", "a test")) for w in widths
    ]
    cycles = [simulate(programs, chip).cycles for chip in chips]
    assert cycles == sorted(cycles, reverse=True)


@pytest.mark.parametrize("name", LAUNCHES)
def test_no_pipe_is_busier_than_always(name):
    """Utilisation lies between 0 and 1, and somebody works."""
    shares = [pipe["utilization"] for pipe in simulate(programs_of(name), PLATFORM).pipes().values()]
    assert 0 < max(shares) <= 1
