"""Learning rates as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from davinci_sim.errors import DavinciError


@dataclass(frozen=True)
class Schedule:
    """A linear rise over `warmup_steps`, then half a cosine from `peak` down to `final` at `total_steps`.

    Without total_steps the rate stays at `peak`.
    """

    peak: float
    warmup_steps: int = 0
    total_steps: int | None = None
    final: float = 0.0

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
        return self.final + (self.peak - self.final) * 0.5 * (1 + math.cos(math.pi * passed))


def constant(rate: float) -> Schedule:
    """Return the schedule that never changes."""
    return Schedule(rate)


def warmup_cosine(peak: float, warmup_steps: int, total_steps: int, final: float = 0.0) -> Schedule:
    """Return the schedule that rises linearly and falls as a cosine."""
    return Schedule(peak, warmup_steps, total_steps, final)
