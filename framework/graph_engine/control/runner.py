"""Training on the device: the same protocol as on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from framework.graph_engine.control.session import Session, as_chip
from framework.ir.nodes import Func
from framework.train.runner import Batch, feeds_of

Array = np.ndarray[Any, Any]


class DeviceRunner:
    """Runs the Func of a training step on a chip; weights and moments stay in device memory."""

    def __init__(self, func: Func, state: Mapping[str, Array], device: Any) -> None:
        """Compile the step and upload the first state."""
        self.session = Session(func, as_chip(device), state)

    @property
    def ms_per_step(self) -> float:
        """Simulated milliseconds of one step."""
        return self.session.step_us() / 1e3

    def run(self, batches: Sequence[Batch]) -> tuple[Array, Array]:
        """Run one step per batch in one call of the host; return losses[steps] and logits[steps, m, n]."""
        losses, logits = self.feed(feeds_of(batches, self.session.loaded.graph.inputs))[:2]
        return losses, logits

    def feed(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Run one step per row of feeds[input][steps, ...] in one call; return results[steps, ...]."""
        outputs = self.session.run(feeds).outputs
        return [outputs[name] for name in self.session.loaded.graph.outputs]

    def state(self) -> dict[str, Array]:
        """Download weights and moments by name."""
        return self.session.variables()

    def load(self, state: Mapping[str, Array]) -> None:
        """Replace weights and moments."""
        self.session.set_variables(state)
