"""What is remembered of a kernel at one place in memory holds at all that look alike."""

from __future__ import annotations

import pytest

from davinci_sim.chip import Chip
from kernels import find, load
from kernels.samples import plain_shapes

SOME = ("matmul", "softmax", "layer_norm", "add", "transpose")


def times(name: str, remember: bool) -> list[int]:
    """Return the times of a kernel at addresses that share sets, in the same order or shifted."""
    kernel = find(name)
    shape = plain_shapes(kernel)[0]
    chip = Chip("ascend910a", data=False, remember_times=remember, keep_times=False)
    found = []
    for shift in (0, 3 * chip.l2_period_bytes, 7 * 512, chip.l2_period_bytes + 123 * 512):
        handles = {operand: start + shift for operand, start in kernel.handles(shape).items()}
        task = kernel.deferred(shape, handles, chip.platform)
        chip.empty_l2()
        found += [chip.time(task).cycles, chip.time(task).cycles]
    if remember:
        assert chip.clockwork.simulated <= 2
    return found


@pytest.mark.parametrize("name", SOME)
def test_a_kernel_is_simulated_once_for_all_places_that_are_alike(name):
    """Once with an empty L2, once with what it left there; times are those of simulations."""
    assert times(name, remember=True) == times(name, remember=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(load()) - set(SOME)))
def test_every_kernel_is_simulated_once_for_all_places_that_are_alike(name):
    assert times(name, remember=True) == times(name, remember=False)
