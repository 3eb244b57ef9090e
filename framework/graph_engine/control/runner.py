"""Training on the device: the same protocol as on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework.graph_engine.control.session import Session, as_chip
from framework.ir.nodes import Func
from framework.train.runner import Batch

Array = np.ndarray[Any, Any]


class DeviceRunner:
    """Runs the Func of a training step on a chip; weights and moments stay in device memory."""

    def __init__(self, func: Func, state: Mapping[str, Array], device: Any) -> None:
        """Compile the step and upload the first state."""
        self.session = Session(func, as_chip(device), state)
        self.x, self.labels, self.rate = (param.name for param in func.params[:3])
        self.loss, self.logits = self.session.loaded.graph.outputs[:2]

    @property
    def ms_per_step(self) -> float:
        """Simulated milliseconds of one step."""
        return self.session.step_us() / 1e3

    def run(self, batches: Sequence[Batch]) -> tuple[Array, Array]:
        """Run one step per batch in one call of the host; return losses[steps] and logits[steps, m, n]."""
        if not batches:
            raise DavinciError("there are no batches to run; pass at least one")
        feeds = {
            self.x: np.stack([batch.x for batch in batches]),
            self.labels: np.stack([batch.labels for batch in batches]),
            self.rate: np.array([batch.learning_rate for batch in batches], dtype=np.float32),
        }
        outputs = self.session.run(feeds).outputs
        return outputs[self.loss], outputs[self.logits]

    def state(self) -> dict[str, Array]:
        """Download weights and moments by name."""
        return self.session.variables()

    def load(self, state: Mapping[str, Array]) -> None:
        """Replace weights and moments."""
        self.session.set_variables(state)
