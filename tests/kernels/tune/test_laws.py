"""Every kernel of the kit: what a search may try computes what the reference does, and keeps its bounds."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadTiling
from davinci_sim.platforms import platform
from kernels.run import place, random_inputs, references
from kernels.samples import odd_shapes
from kernels.tolerance import compare
from kernels.tune.bound import core_bound, cube_bound
from kernels.tune.search import candidates

P = platform("ascend910a")
MOST_SHAPES, MOST_TILINGS = 2, 8


def drawn(kernel, shape):
    """Return candidates that fit, spread over all of them, with their bounds."""
    tried = candidates(kernel, shape, P)
    for tiling in tried[:: max(1, len(tried) // MOST_TILINGS)]:
        try:
            least = core_bound(kernel, shape, P, tiling)
        except BadTiling:
            continue
        yield tiling, max(least, cube_bound(kernel, shape, P, tiling))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # logarithms of negative numbers, on both sides
@pytest.mark.parametrize("name", kernels.load())
def test_every_candidate_is_right_and_slower_than_its_bounds(name):
    kernel = kernels.find(name)
    for shape in islice(odd_shapes(kernel), MOST_SHAPES):
        inputs = random_inputs(kernel, shape, 1)
        if "cond" in inputs:
            inputs["cond"] = (inputs["cond"] > 0).astype(inputs["cond"].dtype)
        with np.errstate(all="ignore"):
            expected = references(kernel, shape, inputs)
        for tiling, least in drawn(kernel, shape):
            placed = place(kernel, shape, inputs, Chip(P), tiling)
            placed.chip.run(placed.task)
            outputs = placed.outputs()
            assert [key for key in expected if compare(outputs[key], expected[key]).wrong] == [], tiling
            assert least <= placed.chip.trace(placed.task).cycles, tiling
