"""What a kernel adds to in device memory is zeroed before, and nothing else is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from davinci_sim.chip import Chip
from framework import Tensor, ops
from framework.frontend.trace import trace
from framework.graph_engine import Session
from framework.ops import OPERATORS, NoGradient
from framework.passes import run
from kernels.lang import (
    FP32,
    MTE2,
    MTE3,
    UB,
    Operand,
    Shape,
    Tiling,
    alloc,
    close,
    data_move,
    fill,
    filled,
    free,
    kernel,
    output,
    queue,
    use,
)

CORES = 4


@dataclass(frozen=True)
class Vector(Shape):
    """n numbers, a multiple of 8."""

    n: int


@dataclass(frozen=True)
class Cores(Tiling):
    """Four of them."""

    @classmethod
    def default(cls, shape, platform):
        return cls()

    def blocks(self, shape, platform):
        return CORES


def operands(shape):
    """Return x[n] and y[n]."""
    return Operand("x", (shape.n,), FP32), output("y", (shape.n,), FP32)


@kernel(Vector, Cores, operands, lambda shape, x: (CORES * x,))
def added_by_all(core, x, y, shape, tiling):
    """y[n] = 4 x[n], to which each of four cores adds x."""
    taken, q = alloc(core, UB, shape.n * 4), queue(core, MTE2, MTE3, 1)
    fill(core, q)
    data_move(core, taken, x, 1, shape.n // 8)
    filled(core, q)
    use(core, q)
    data_move(core, y, taken, 1, shape.n // 8, 0, 0, 1, FP32)
    free(core, q)
    close(core, q)


@pytest.fixture(scope="module", autouse=True)
def fourfold():
    """Make the kernel an operator that goes by element, and forget it at the end."""
    yield ops.kernel_op(added_by_all, vjp=NoGradient("a test"), keeps_zero=True)
    del OPERATORS["added_by_all"]


def test_what_cores_add_to_is_cleared_in_every_step(fourfold):
    """Memory holds what the step before has left there; an operand is not what the sum is written over."""
    x = np.arange(3 * 320, dtype=np.float32).reshape(3, 5, 64)
    func = run(trace(lambda x: ops.exp(fourfold(ops.relu(x)) * -1e-4), [Tensor(x[0])], {}).func)
    session = Session(func, Chip("ascend910a"))
    (found,) = session.run({"x": x}).outputs.values()
    np.testing.assert_allclose(found, np.exp(x * -4e-4), rtol=1e-3)
    tasks = session.compiled.tasks
    own = next(task for task in tasks if task.kernel == "added_by_all")
    names = [task.name for task in tasks if task.kernel in ("fill_value", "added_by_all")]
    assert names == [f"atomic_clean.{own.operands['y']}", own.name]
    homes = session.compiled.homes
    assert homes[own.operands["y"]] != homes[own.operands["x"]]


def test_kernels_that_write_are_not_cleared_for():
    """Those of the kit clear what they add to by themselves."""
    x, rows = np.ones((6, 16), np.float32), np.array([1, 1, 3, 0, 1, 2], np.int32)
    func = run(trace(lambda x, rows: ops.scatter_add(x, rows, 4), [Tensor(x), Tensor(rows)], {}).func)
    session = Session(func, Chip("ascend910a"))
    for _ in range(2):
        (found,) = session.run({"x": x[np.newaxis], "rows": rows[np.newaxis]}).outputs.values()
        assert found[0, :, 0].tolist() == [1, 3, 1, 1]
    assert not [task for task in session.compiled.tasks if "atomic_clean" in task.name]
