"""Train a model of the zoo by its recipe, with a progress bar on standard error."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from davinci_sim.errors import unknown
from framework import Model, data, models, nn, optim
from framework.train import Callback
from framework.train import Progress as Step


@dataclass(frozen=True)
class Plan:
    """What to train on what, where and how long; None stands for the model's recipe, or for the host."""

    model: str
    dataset: str
    device: str | None = None
    epochs: int | None = None
    batch: int | None = None
    seed: int = 0
    sink_steps: int = 1


class TrainingBar(Callback):
    """A progress bar on standard error: loss, accuracy and simulated milliseconds per step."""

    def __init__(self, model: Model, console: Console | None = None) -> None:
        """Prepare the bar; `with` shows it."""
        self.model = model
        self.progress = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
            TimeElapsedColumn(), console=console or Console(file=sys.stderr),
        )  # fmt: skip
        self.bar = self.progress.add_task("", total=None)
        self.steps = 0

    def __enter__(self) -> TrainingBar:
        """Show the bar."""
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it stands."""
        self.progress.stop()

    def step_end(self, progress: Step) -> None:
        """Move on by a step."""
        self.steps = progress.step
        simulated = ms_per_step(self.model)
        text = f"loss {progress.loss:.4f}  accuracy {100 * progress.accuracy:.1f} %"
        text += "" if simulated is None else f"  {simulated:.3f} simulated ms/step"
        self.progress.update(self.bar, completed=progress.step, total=progress.total_steps, description=text)


def ms_per_step(model: Model) -> float | None:
    """Return the simulated milliseconds of a step, None on the host."""
    value = getattr(model.runner, "ms_per_step", None)
    return None if value is None else float(value)


def train_model(plan: Plan) -> dict[str, Any]:
    """Train and test; return loss and accuracy on the test part, steps, and simulated ms per step.

    Raises:
        UnknownName: there is no such model, data set or device.
    """
    device = None if plan.device is None else _chip(plan.device)
    module = models.model(plan.model)
    recipe = module.RECIPE
    parts = data.dataset(plan.dataset, plan.batch or recipe.batch_size, plan.seed)
    epochs = plan.epochs or recipe.epochs
    net = module.build(module.Config(seed=plan.seed))
    schedule = optim.warmup_cosine(recipe.peak_learning_rate, recipe.warmup_steps, epochs * len(parts.train))
    optimizer = optim.Momentum(net.trainable_params(), schedule, recipe.momentum)
    model = Model(net, nn.SoftmaxCrossEntropyWithLogits(), optimizer, device)
    start = time.perf_counter()
    with TrainingBar(model) as bar:
        model.train(epochs, parts.train, [bar], sink_size=1 if device is None else plan.sink_steps)
    score = model.eval(parts.test)
    return {
        "loss": score.loss,
        "accuracy": score.accuracy,
        "steps": bar.steps,
        "device_ms_per_step": ms_per_step(model),
        "epochs": epochs,
        "batch": parts.train.batch_size,
        "test_samples": score.samples,
        "wall_s": time.perf_counter() - start,
    }


def _chip(name: str) -> Any:
    """Return the simulated chip called `name`."""
    from davinci_sim.platforms import platform_names

    if name not in platform_names():
        raise unknown("device", name, ["host", *platform_names()])
    from davinci_sim.chip import Chip

    return Chip(name)
