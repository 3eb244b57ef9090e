"""Data move when the simulated result arrives: with its flags a kernel is right, without one it is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from davinci_sim.chip import Chip
from davinci_sim.platforms import assumed, platform
from kernels.lang import (
    FP32,
    MTE2,
    MTE3,
    UB,
    Operand,
    Shape,
    Tiling,
    V,
    alloc,
    data_move,
    kernel,
    output,
    set_flag,
    vadds,
    wait_flag,
)
from kernels.lang.kernel import KERNELS
from kernels.run import run

LOADED, ADDED = 1, 2
NARROW = platform("ascend910a").with_figures(
    "narrow", hbm_bytes_per_cycle=assumed(32, "B/cycle", "a test: the load ends long after it starts")
)


@dataclass(frozen=True)
class Chain(Shape):
    """Axes of a vector of whole repeats; `flags` says which hand-offs there are (LOADED + ADDED: both)."""

    n: int
    flags: int = LOADED + ADDED
    OPTIONS = ("flags",)


@dataclass(frozen=True)
class Whole(Tiling):
    """Everything at once, on one core."""

    tile: int

    @classmethod
    def default(cls, shape, platform):
        return cls(shape.n)

    def blocks(self, shape, platform):
        return 1


@kernel(
    Chain, Whole, lambda s: (Operand("x", (s.n,), FP32), output("y", (s.n,), FP32)), lambda shape, x: (x + 1,)
)
def increment_in_a_test(core, x, y, shape, tiling):
    """y[n] = x[n] + 1: a load, a sum and a store on three pipes."""
    ub = alloc(core, UB, tiling.tile * 4)
    data_move(core, ub, x, 1, tiling.tile // 8)
    if shape.flags & LOADED:
        set_flag(core, MTE2, V, 0)
        wait_flag(core, MTE2, V, 0)
    vadds(core, ub, ub, tiling.tile // 64, 1.0, FP32)
    if shape.flags & ADDED:
        set_flag(core, V, MTE3, 0)
        wait_flag(core, V, MTE3, 0)
    data_move(core, y, ub, 1, tiling.tile // 8)


INCREMENT = KERNELS.pop("increment_in_a_test")  # not one of the kit's kernels
X = np.arange(4096, dtype=np.float32)


def computed(flags, engine):
    """Return y as an engine computes it."""
    outputs, _ = run(INCREMENT, Chain(len(X), flags), {"x": X}, Chip(NARROW), engine=engine)
    return outputs["y"]


def test_with_its_flags_a_kernel_computes_what_its_reference_says():
    assert np.array_equal(computed(LOADED + ADDED, "reference"), X + 1)


@pytest.mark.parametrize("flags", [0, LOADED, ADDED], ids=["no flag", "only the first", "only the second"])
def test_a_missing_flag_gives_wrong_numbers(flags):
    """The sum or the store starts before what it needs has arrived."""
    assert not np.array_equal(computed(flags, "reference"), X + 1)


def test_without_flags_the_store_leaves_before_the_numbers_arrive():
    """What it takes along is the sum of what UB held before: no numbers at all."""
    assert np.isnan(computed(0, "reference")).all()


def test_compiled_execution_computes_the_same_bits_as_the_simulated_moves():
    fast, slow = (computed(LOADED + ADDED, engine) for engine in ("fast", "reference"))
    assert fast.tobytes() == slow.tobytes()
