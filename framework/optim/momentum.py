"""Stochastic gradient descent, with momentum and without."""

from __future__ import annotations

from typing import Any

from davinci_sim.errors import DavinciError
from framework import ops
from framework.optim.optimizer import Optimizer, Params, Step
from framework.optim.schedule import Schedule


class SGD(Optimizer):
    """w_new = w - learning_rate * (g + weight_decay * w), for every Parameter."""

    def update(self, step: Step) -> tuple[Any, ...]:
        """Emit the update of one weight."""
        return (ops.apply_sgd(step.weight, step.gradient, step.learning_rate, step.weight_decay),)


class Momentum(Optimizer):
    """m_new = momentum * m + g;  w_new = w - learning_rate * m_new, for every Parameter.

    With weight decay g is the gradient + weight_decay * w; with `nesterov` the step is momentum * m_new + g.
    """

    slots = ("moments",)

    def __init__(
        self,
        params: Params,
        learning_rate: float | Schedule,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        """Take the Parameters to update."""
        super().__init__(params, learning_rate, weight_decay)
        if not 0 <= momentum < 1:
            raise DavinciError(f"momentum is {momentum}, it must be at least 0 and below 1")
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, step: Step) -> tuple[Any, ...]:
        """Emit the update of one weight and its momentum."""
        given = (step.weight, *step.state, step.gradient, step.learning_rate, self.momentum)
        if step.weight_decay or self.nesterov:
            found: tuple[Any, ...] = ops.apply_momentum_decay(*given, step.weight_decay, self.nesterov)
        else:
            found = ops.apply_momentum(*given)
        return found
