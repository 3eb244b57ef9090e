"""Who runs training steps: the protocol, and the host that does it in NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from davinci_sim.errors import DavinciError
from framework.feeds import check_state, fed
from framework.host import compile_host
from framework.ir.nodes import Func

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Batch:
    """The inputs of one step of a network for images."""

    x: Array
    labels: Array
    learning_rate: float


class StepRunner(Protocol):
    """Runs training steps and keeps weights and moments between them."""

    def run(self, batches: Sequence[Batch]) -> tuple[Array, Array]:
        """Run one step per batch in one call; return losses[steps] and logits[steps, m, n]."""
        ...

    def feed(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Run one step per row of feeds[input][steps, ...] in one call; return results[steps, ...]."""
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
        held = {*state, *func.updates.values()}
        self._held = {param.name: param.tensor for param in func.params if param.name in held}
        self._inputs = {param.name: param.tensor for param in func.params if param.name not in held}
        self.load(state)

    def run(self, batches: Sequence[Batch]) -> tuple[Array, Array]:
        """Run one step per batch; return losses[steps] and logits[steps, m, n]."""
        losses, logits = self.feed(feeds_of(batches, tuple(self._inputs)))[:2]
        return losses, logits

    def feed(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Run one step per row of feeds[input][steps, ...]; return results[steps, ...]."""
        rows = zip(*fed(self.func.name, self._inputs, feeds).values(), strict=True)
        found = [self._step(row) for row in rows]
        return [np.stack(each) for each in zip(*found, strict=True)]

    def state(self) -> dict[str, Array]:
        """Return copies of weights and moments by name."""
        return {name: array.copy() for name, array in self._state.items()}

    def load(self, state: Mapping[str, Array]) -> None:
        """Replace weights and moments."""
        check_state(self.func.name, self._held, state)
        self._state = {name: np.array(state[name]) for name in self._held}

    def _step(self, inputs: Sequence[Array]) -> list[Array]:
        known = {**dict(zip(self._inputs, inputs, strict=True)), **self._state}
        results = self._compute([np.asarray(known[param.name]) for param in self.func.params])
        updates = self.func.updates
        self._state.update({name: results[index] for index, name in updates.items()})
        return [each for index, each in enumerate(results) if index not in updates]


def feeds_of(batches: Sequence[Batch], inputs: Sequence[str]) -> dict[str, Array]:
    """Return images, labels and learning rates of some steps by the names of the inputs, in their order."""
    if not batches:
        raise DavinciError("there are no batches to run; pass at least one")
    x, labels, rate = inputs
    return {
        x: np.stack([batch.x for batch in batches]),
        labels: np.stack([batch.labels for batch in batches]),
        rate: np.array([batch.learning_rate for batch in batches], dtype=np.float32),
    }
