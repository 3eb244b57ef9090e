"""How quick compiled functions are: a call of one, and a loop of scalars with its gradient."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from experiments.bench.registry import benchmark, median_seconds

if TYPE_CHECKING:
    from framework import Tensor

_CALLS = 2_000
_TURNS = 1_000_000


def looped(x: Any, turns: Any) -> Any:
    """Return the number that a pull towards one leads to, after so many turns."""
    done = 0
    while done < turns:
        x = x + (1.0 - x * x) * 1e-6
        done += 1
    return x


def _scalar() -> Tensor:
    import numpy as np

    from framework import Tensor

    return Tensor(np.asarray(0.5))


@benchmark("us", at_most=30)
def call_of_a_compiled_function() -> float:
    """Time a call of a compiled function that adds two tensors of three numbers, beyond NumPy's addition."""
    import numpy as np

    from framework import Tensor, jit

    add = jit(lambda x, y: x + y)
    x = Tensor(np.ones(3, np.float32))
    array = x.numpy()
    times = []
    for _ in range(30):
        start = time.perf_counter()
        for _ in range(_CALLS):
            add(x, x)
        middle = time.perf_counter()
        for _ in range(_CALLS):
            array + array
        times.append(2 * middle - start - time.perf_counter())
    return statistics.median(times) / _CALLS * 1e6


@benchmark("s", at_most=1.0)
def scalar_loop_with_gradient() -> float:
    """Time a while loop of a million turns over scalars and its gradient, compiled before."""
    from framework import value_and_grad

    compiled, x = value_and_grad(looped), _scalar()
    return median_seconds(lambda: compiled(x, _TURNS))


@benchmark("s")
def scalar_loop_compiled_and_run() -> float:
    """Time the same from a new function: traced, differentiated, optimised, run until hot, then compiled."""
    from experiments.bench.registry import seconds
    from framework import value_and_grad

    x = _scalar()
    return seconds(lambda: value_and_grad(looped)(x, _TURNS))
