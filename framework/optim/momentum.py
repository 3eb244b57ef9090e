"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from davinci_sim.errors import DavinciError
from framework import ops
from framework.ir.builder import Sym
from framework.optim.schedule import Schedule, constant
from framework.tensor import Parameter

STATE_PREFIX = "moments."


class Momentum:
    """m_new = momentum * m + g;  w_new = w - learning_rate * m_new, for every Parameter.

    The learning rate is a number or a schedule (see `framework.optim.schedule`).
    """

    def __init__(
        self, params: Sequence[Parameter], learning_rate: float | Schedule, momentum: float = 0.9
    ) -> None:
        """Take the Parameters to update."""
        if not params:
            raise DavinciError("Momentum has no parameters to update; pass net.trainable_params()")
        if not 0 <= momentum < 1:
            raise DavinciError(f"momentum is {momentum}, it must be at least 0 and below 1")
        self.params = tuple(params)
        self.schedule = learning_rate if isinstance(learning_rate, Schedule) else constant(learning_rate)
        self.momentum = momentum

    def state_name(self, name: str) -> str:
        """Return the name of the momentum of a Parameter."""
        return STATE_PREFIX + name

    def update(self, weight: Sym, state: Sym, gradient: Sym, learning_rate: Sym) -> tuple[Any, Any]:
        """Emit the update of one weight; return its new value and its new momentum."""
        new_weight, new_state = ops.apply_momentum(weight, state, gradient, learning_rate, self.momentum)
        return new_weight, new_state
