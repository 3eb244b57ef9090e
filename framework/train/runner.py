"""Who runs training steps: the protocol, and the host that does it in NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from davinci_sim.errors import DavinciError
from framework.host import compile_host
from framework.ir.nodes import Func

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Batch:
    """The inputs of one step."""

    x: Array
    labels: Array
    learning_rate: float


class StepRunner(Protocol):
    """Runs training steps and keeps weights and moments between them."""

    def run(self, batches: Sequence[Batch]) -> tuple[Array, Array]:
        """Run one step per batch in one call; return losses[steps] and logits[steps, m, n]."""
        ...

    def state(self) -> dict[str, Array]:
        """Return copies of weights and moments by name."""
        ...

    def load(self, state: Mapping[str, Array]) -> None:
        """Replace weights and moments."""
        ...


class HostRunner:
    """Runs the Func of a training step in NumPy."""

    def __init__(self, func: Func, state: Mapping[str, Array]) -> None:
        """Take the Func that `training_step` made, and its first weights and moments."""
        self.func = func
        self._compute = compile_host(func)
        self._state: dict[str, Array] = {}
        self._names = [param.name for param in func.params[3:]]
        self.load(state)

    def run(self, batches: Sequence[Batch]) -> tuple[Array, Array]:
        """Run one step per batch; return losses[steps] and logits[steps, m, n]."""
        if not batches:
            raise DavinciError("there are no batches to run; pass at least one")
        results = [self._step(batch) for batch in batches]
        return np.stack([loss for loss, _ in results]), np.stack([logits for _, logits in results])

    def state(self) -> dict[str, Array]:
        """Return copies of weights and moments by name."""
        return {name: array.copy() for name, array in self._state.items()}

    def load(self, state: Mapping[str, Array]) -> None:
        """Replace weights and moments."""
        missing = [name for name in self._names if name not in state]
        if missing:
            raise DavinciError(
                f"the state lacks {', '.join(missing)}; make it with initial_state(net, optimizer)"
            )
        self._state = {name: np.array(state[name]) for name in self._names}

    def _step(self, batch: Batch) -> tuple[Array, Array]:
        rate = np.asarray(batch.learning_rate, dtype=np.float32)
        results = self._compute([batch.x, batch.labels, rate, *self._state.values()])
        self._state.update({name: results[index] for index, name in self.func.updates.items()})
        return results[0], results[1]
