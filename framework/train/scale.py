"""The scale of the loss: gradients in half precision shall not vanish, and count only while finite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework import ops
from framework.ir import flow
from framework.ir.builder import Builder, Sym

Array = np.ndarray[Any, Any]

LOSS_SCALE, GOOD_STEPS = "loss_scale", "good_steps"
"""Names of the state of a scale that changes."""


@dataclass(frozen=True)
class DynamicLossScale:
    """A scale that grows while all gradients are finite, and shrinks when some are not.

    A step whose gradients are not all finite changes neither weights nor moments; the scale becomes smaller
    by `factor`, but not below 1. After `window` good steps in a row it becomes larger by `factor`.
    """

    first: float = 2.0**16
    factor: float = 2.0
    window: int = 1000

    def __post_init__(self) -> None:
        """Refuse numbers with which it cannot adapt."""
        if not self.first >= 1:
            raise DavinciError(f"DynamicLossScale: first is {self.first}, it must be at least 1")
        if not self.factor > 1:
            raise DavinciError(f"DynamicLossScale: factor is {self.factor}, it must be above 1")
        if not self.window >= 1:
            raise DavinciError(f"DynamicLossScale: window is {self.window}, it must be at least 1 step")

    def state(self) -> dict[str, Array]:
        """Return the first state by name."""
        return {LOSS_SCALE: np.asarray(self.first, np.float32), GOOD_STEPS: np.asarray(0, np.int32)}

    def grown(self, builder: Builder, state: dict[str, Sym]) -> dict[str, Sym]:
        """Emit the state after a step with finite gradients."""
        scale = builder.value(state[LOSS_SCALE])
        good = builder.value(state[GOOD_STEPS]) + 1
        then, orelse = Builder(builder), Builder(builder)
        kept = [then.value(scale), then.value(good)]
        larger = [orelse.value(scale) * self.factor, orelse.constant(np.int32(0))]
        found = flow.branch(
            builder,
            good < self.window,
            flow.Part(then, kept, "keep"),
            flow.Part(orelse, larger, "grow"),
        )
        return dict(zip((LOSS_SCALE, GOOD_STEPS), found, strict=True))

    def shrunk(self, builder: Builder, state: dict[str, Sym]) -> dict[str, Sym]:
        """Emit the state after a step whose gradients were not all finite."""
        smaller = builder.value(state[LOSS_SCALE]) * (1 / self.factor)
        return {LOSS_SCALE: ops.maximum(smaller, 1.0), GOOD_STEPS: builder.constant(np.int32(0))}


LossScale = float | DynamicLossScale | None
"""A number, which stays; one that changes; or none."""


def first_state(scale: LossScale) -> dict[str, Array]:
    """Return the first state of a scale by name."""
    return scale.state() if isinstance(scale, DynamicLossScale) else {}
