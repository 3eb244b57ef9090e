"""The compiled engine gives every shipped kernel the times that the SimPy reference defines."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from davinci_sim.chip import Chip
from davinci_sim.platforms import platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.run import place
from kernels.samples import LARGE, SMALL, shapes

P = platform("ascend910a")
TIMES = ("start", "end", "ready", "core")


def cases(sizes):
    """Return every kernel with its shapes, and how pytest calls them."""
    return [
        pytest.param(kernel, shape, id=f"{name}-{shape}")
        for name, kernel in kernels.load().items()
        for shape in shapes(kernel, sizes)
    ]


def disagreement(kernel: Kernel, shape: Shape, tiling: Tiling | None = None, chip=P) -> str:
    """Return the first record that the engines time differently, or nothing.

    The task runs twice: from an empty L2, and from what the first run has left there.
    """
    fast, slow = (Chip(chip, engine=engine, remember_times=False) for engine in ("fast", "reference"))
    task = place(kernel, shape, None, fast, tiling).task
    for turn in ("cold", "warm"):
        ours, theirs = fast.trace(task).records, slow.trace(task).records
        assert len(ours) == len(theirs) == task.instructions
        different = np.zeros(len(ours), dtype=bool)
        for name in TIMES:
            different |= ours[name] != theirs[name]
        if different.any():
            at = int(np.flatnonzero(different)[0])
            return f"{turn}, record {at}: fast {ours[at]}, reference {theirs[at]}"
    return ""


@pytest.mark.parametrize(("kernel", "shape"), cases(SMALL))
def test_both_engines_time_a_small_launch_alike(kernel, shape):
    """Every kernel, every element type, every option."""
    assert disagreement(kernel, shape) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "shape"), cases(LARGE))
def test_both_engines_time_a_large_launch_alike(kernel, shape):
    """Many cores that share the memory, several tiles on each."""
    assert disagreement(kernel, shape) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "shape"), cases(SMALL))
def test_both_engines_time_every_tiling_alike(kernel, shape):
    """The tilings that a kernel offers for a small shape."""
    found = {str(t): disagreement(kernel, shape, t) for t in kernel.tiling_type.space(shape, P)}
    assert set(found.values()) == {""}
