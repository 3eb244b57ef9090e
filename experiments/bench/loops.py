"""Loops on the simulated chip: a while with its gradient, by its turns."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from experiments.bench.registry import benchmark, median_seconds

if TYPE_CHECKING:
    from framework.jit import Jitted

_TURNS, _MORE = 20, 60
"""Two lengths: a turn is what they differ by, and what stands around the loops does not count."""


def squared(x: Any, turns: Any) -> Any:
    """Return the sum of what so many squares, with a tenth added to each, lead to."""
    while turns > 0:
        x = x * x + 0.1
        turns -= 1
    return x.sum()


def _x() -> Any:
    import numpy as np

    from framework import Tensor

    return Tensor(np.linspace(0.1, 0.8, 1024, dtype=np.float32))


@cache
def _on_the_chip() -> Jitted:
    from davinci_sim import Chip
    from framework import jit, value_and_grad

    return jit(value_and_grad(squared), device=Chip("ascend910a"))


def _us(turns: int) -> float:
    """Return the simulated time of value and gradient."""
    compiled = _on_the_chip()
    compiled(_x(), turns)
    timeline = compiled.profile().timeline
    return float(timeline.cycles / timeline.clock_hz * 1e6)


@benchmark("us")
def simulated_turn_of_a_loop_with_gradient() -> float:
    """Tell the simulated time of a turn ahead and one back: two products, two sums, counters, jumps."""
    return (_us(_MORE) - _us(_TURNS)) / (_MORE - _TURNS)


@benchmark("us")
def simulating_a_turn_of_a_loop_with_gradient() -> float:
    """Time how long the host computes for the same, data of 1024 numbers included."""
    compiled, x = _on_the_chip(), _x()
    short = median_seconds(lambda: compiled(x, _TURNS))
    long = median_seconds(lambda: compiled(x, _MORE))
    return (long - short) / (_MORE - _TURNS) * 1e6


@benchmark("round trips", at_most=0)
def host_round_trips_of_a_loop_with_gradient() -> float:
    """Count how often the chip waits for the host in a loop of sixty turns and its gradient."""
    compiled = _on_the_chip()
    compiled(_x(), _MORE)
    return float(compiled.profile().host_round_trips)
