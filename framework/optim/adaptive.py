"""Optimisers with a step of its own for every weight: Adam, AdamW and LAMB."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from davinci_sim.errors import DavinciError
from framework import ops
from framework.optim.optimizer import Optimizer, Params, Step, check_rates
from framework.optim.schedule import Schedule


@dataclass(frozen=True)
class Betas:
    """How much of the moments a step keeps, and what is added to the root of the second one."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


class _Adaptive(Optimizer, ABC):
    """Keeps two moments per weight, and the powers of the betas with which their bias is corrected."""

    slots = ("moment1", "moment2")

    def __init__(
        self,
        params: Params,
        learning_rate: float | Schedule,
        betas: Betas,
        weight_decay: float = 0.0,
        corrects_bias: bool = True,
    ) -> None:
        """Take the Parameters to update; without `corrects_bias` the first steps are shorter."""
        super().__init__(params, learning_rate, weight_decay)
        name = type(self).__name__
        check_rates(name, {"beta1": betas.beta1, "beta2": betas.beta2})
        if not betas.epsilon > 0:
            raise DavinciError(f"{name}: epsilon is {betas.epsilon}, it must be positive")
        self.betas, self.corrects_bias = betas, corrects_bias

    @property
    def shared(self) -> Mapping[str, float]:
        """Return the powers of the betas."""
        return {"beta1_power": 1.0, "beta2_power": 1.0} if self.corrects_bias else {}

    def advance(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """Emit the next powers."""
        rates = {"beta1_power": self.betas.beta1, "beta2_power": self.betas.beta2}
        return {name: power * rates[name] for name, power in shared.items()}

    def _operands(self, step: Step) -> tuple[Any, ...]:
        """Return what the update of a weight takes; a power of 0 corrects nothing."""
        none = step.weight.builder.constant(0.0)
        powers = (step.shared.get("beta1_power", none), step.shared.get("beta2_power", none))
        return (step.weight, *step.state, step.gradient, *powers, step.learning_rate)

    def _numbers(self) -> dict[str, float]:
        return {"beta1": self.betas.beta1, "beta2": self.betas.beta2, "epsilon": self.betas.epsilon}


class Adam(_Adaptive):
    """w_new = w - rate * m_new / (sqrt(v_new) + epsilon), of corrected moments m and v of the gradient.

    With `nesterov` m_new in the step is averaged with the gradient once more.
    """

    def __init__(
        self,
        params: Params,
        learning_rate: float | Schedule = 1e-3,
        betas: Betas = Betas(),
        nesterov: bool = False,
    ) -> None:
        """Take the Parameters to update."""
        super().__init__(params, learning_rate, betas)
        self.nesterov = nesterov
        if any(self.decays.values()):
            raise DavinciError("Adam has no weight decay; take AdamW, whose weights decay by themselves")

    def update(self, step: Step) -> tuple[Any, ...]:
        """Emit the update of one weight and its moments."""
        found: tuple[Any, ...] = ops.apply_adam(
            *self._operands(step), **self._numbers(), nesterov=self.nesterov
        )
        return found


class AdamW(_Adaptive):
    """As Adam, of weights that decay first: w * (1 - learning_rate * weight_decay).

    Without `corrects_bias` it is the AdamWeightDecay that BERT was trained with.
    """

    def __init__(
        self,
        params: Params,
        learning_rate: float | Schedule = 1e-3,
        betas: Betas = Betas(epsilon=1e-6),
        weight_decay: float = 0.01,
        corrects_bias: bool = True,
    ) -> None:
        """Take the Parameters to update."""
        super().__init__(params, learning_rate, betas, weight_decay, corrects_bias)

    def update(self, step: Step) -> tuple[Any, ...]:
        """Emit the update of one weight and its moments."""
        found: tuple[Any, ...] = ops.apply_adamw(
            *self._operands(step), weight_decay=step.weight_decay, **self._numbers()
        )
        return found


class LAMB(_Adaptive):
    """u = m' / (sqrt(v') + epsilon) + weight_decay * w;  w_new = w - learning_rate * |w| / |u| * u.

    m' and v' are the corrected moments; the norms are those of one Parameter, their ratio 1 where one is 0.

    Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes" (2020).
    """

    def __init__(
        self,
        params: Params,
        learning_rate: float | Schedule = 1e-3,
        betas: Betas = Betas(epsilon=1e-6),
        weight_decay: float = 0.01,
    ) -> None:
        """Take the Parameters to update."""
        super().__init__(params, learning_rate, betas, weight_decay)

    def update(self, step: Step) -> tuple[Any, ...]:
        """Emit the update of one weight and its moments."""
        found: tuple[Any, ...] = ops.apply_lamb(
            *self._operands(step), weight_decay=step.weight_decay, **self._numbers()
        )
        return found
