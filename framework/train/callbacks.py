"""What happens beside training: callbacks see every group of steps and every epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from davinci_sim.errors import DavinciError


@dataclass(frozen=True)
class Progress:
    """Where training is, counted from 1; loss and accuracy are those of the newest batch."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    accuracy: float


class Callback:
    """Does nothing; subclasses override what they need."""

    def step_end(self, progress: Progress) -> None:
        """See a step that has ended."""

    def epoch_end(self, progress: Progress) -> None:
        """See an epoch that has ended."""


class LossMonitor(Callback):
    """Stops training when the loss is not a number."""

    def step_end(self, progress: Progress) -> None:
        """Check the loss."""
        if not math.isfinite(progress.loss):
            raise DavinciError(
                f"step {progress.step}: the loss is {progress.loss}, training has diverged; "
                "lower the learning rate"
            )


@dataclass
class History(Callback):
    """Keeps the loss and the accuracy of every step."""

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    def step_end(self, progress: Progress) -> None:
        """Note the step."""
        self.losses.append(progress.loss)
        self.accuracies.append(progress.accuracy)
