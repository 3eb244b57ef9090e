"""Learning rates as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from davinci_sim.errors import DavinciError


@dataclass(frozen=True)
class Schedule:
    """A linear rise over `warmup_steps`, then a fall from `peak` down to `final` at `total_steps`.

    It falls as half a cosine, or as a `power` of the steps that are left. Without total_steps the rate stays
    at `peak`.
    """

    peak: float
    warmup_steps: int = 0
    total_steps: int | None = None
    final: float = 0.0
    power: float | None = None

    def __post_init__(self) -> None:
        """Refuse rates that cannot train."""
        if not self.peak > 0:
            raise DavinciError(f"learning rate is {self.peak}, it must be positive")

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0.

        >>> [round(Schedule(0.1, warmup_steps=2, total_steps=6)(step), 3) for step in (0, 1, 2, 4, 6)]
        [0.05, 0.1, 0.1, 0.05, 0.0]
        """
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        if self.total_steps is None:
            return self.peak
        passed = min((step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1), 1.0)
        share = 0.5 * (1 + math.cos(math.pi * passed)) if self.power is None else (1 - passed) ** self.power
        return self.final + (self.peak - self.final) * share


def constant(rate: float) -> Schedule:
    """Return the schedule that never changes."""
    return Schedule(rate)


def warmup_cosine(peak: float, warmup_steps: int, total_steps: int, final: float = 0.0) -> Schedule:
    """Return the schedule that rises linearly and falls as a cosine."""
    return Schedule(peak, warmup_steps, total_steps, final)


def warmup_linear(peak: float, warmup_steps: int, total_steps: int, final: float = 0.0) -> Schedule:
    """Return the schedule that rises and falls linearly."""
    return Schedule(peak, warmup_steps, total_steps, final, 1.0)


def warmup_polynomial(
    peak: float, warmup_steps: int, total_steps: int, power: float, final: float = 0.0
) -> Schedule:
    """Return the schedule that rises linearly and falls as a power of the steps that are left.

    >>> [round(warmup_polynomial(1.0, 0, 4, 2.0)(step), 4) for step in range(5)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0]
    """
    return Schedule(peak, warmup_steps, total_steps, final, power)
