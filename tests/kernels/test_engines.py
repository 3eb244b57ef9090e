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


def disagreements(kernel: Kernel, sizes) -> dict[str, str]:
    """Return the shapes that the engines time differently, with the first record of each."""
    found = {str(shape): disagreement(kernel, shape) for shape in shapes(kernel, sizes)}
    assert found
    return {shape: record for shape, record in found.items() if record}


@pytest.mark.parametrize("name", kernels.load())
def test_both_engines_time_small_launches_alike(name):
    """Every kernel, every element type, every option."""
    assert disagreements(kernels.find(name), SMALL) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", kernels.load())
def test_both_engines_time_large_launches_alike(name):
    """Many cores that share the memory, several tiles on each."""
    assert disagreements(kernels.find(name), LARGE) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", kernels.load())
def test_both_engines_time_every_tiling_alike(name):
    """The tilings that a kernel offers for its small shapes."""
    kernel = kernels.find(name)
    for shape in shapes(kernel, SMALL):
        found = {str(t): disagreement(kernel, shape, t) for t in kernel.tiling_type.space(shape, P)}
        assert {tiling: record for tiling, record in found.items() if record} == {}, str(shape)
