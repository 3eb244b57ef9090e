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
from framework.train import Callback, Score
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
    engine: str = "fast"


@dataclass(frozen=True)
class Training:
    """A training that has ended: the trained Model, and how well it does on the test part."""

    plan: Plan
    model: Model
    score: Score
    steps: int
    epochs: int
    batch: int
    wall_s: float

    @property
    def accuracy(self) -> float:
        """The share of the test part that is recognised."""
        return self.score.accuracy

    @property
    def ms_per_step(self) -> float | None:
        """Simulated milliseconds of a step; None on the host."""
        return ms_per_step(self.model)

    def session_summary(self) -> dict[str, Any]:
        """Return the keys that the command line promises, and what was trained how."""
        return {
            "model": self.plan.model,
            "data": self.plan.dataset,
            "device": self.plan.device or "host",
            "loss": self.score.loss,
            "accuracy": self.accuracy,
            "steps": self.steps,
            "device_ms_per_step": self.ms_per_step,
            "epochs": self.epochs,
            "batch": self.batch,
            "seed": self.plan.seed,
            "test_samples": self.score.samples,
            "wall_s": self.wall_s,
        }


class TrainingBar(Callback):
    """A progress bar: loss, accuracy and simulated milliseconds per step."""

    def __init__(self, model: Model, console: Console) -> None:
        """Prepare the bar; `with` shows it."""
        self.model = model
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
        )
        self.progress = Progress(*columns, TimeElapsedColumn(), console=console)
        self.bar = self.progress.add_task("", total=None)
        self.steps, self.simulated = 0, ""

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
        if self.steps == 1 and (simulated := ms_per_step(self.model)) is not None:  # the same for every step
            self.simulated = f"  {simulated:.3f} simulated ms/step"
        text = f"loss {progress.loss:.4f}  accuracy {100 * progress.accuracy:.1f} %{self.simulated}"
        self.progress.update(self.bar, completed=progress.step, total=progress.total_steps, description=text)


def ms_per_step(model: Model) -> float | None:
    """Return the simulated milliseconds of a step, None on the host."""
    value = getattr(model.runner, "ms_per_step", None)
    return None if value is None else float(value)


def train(plan: Plan, console: Console | None = None) -> Training:
    """Train by the model's recipe and test; the bar goes to `console`, by default on standard error.

    Raises:
        UnknownName: there is no such model, data set or device.
    """
    start = time.perf_counter()
    device = None if plan.device is None else _chip(plan.device, plan.engine)
    module = models.model(plan.model)
    recipe = module.RECIPE
    parts = data.dataset(plan.dataset, plan.batch or recipe.batch_size, plan.seed)
    epochs = plan.epochs or recipe.epochs
    net = module.build(module.Config(seed=plan.seed))
    schedule = recipe.schedule(epochs * len(parts.train))
    optimizer = optim.Momentum(net.trainable_params(), schedule, recipe.momentum)
    model = Model(net, nn.SoftmaxCrossEntropyWithLogits(), optimizer, device)
    with TrainingBar(model, console or Console(file=sys.stderr)) as bar:
        model.train(epochs, parts.train, [bar], sink_size=1 if device is None else plan.sink_steps)
    score = model.eval(parts.test)
    batch = parts.train.batch_size
    return Training(plan, model, score, bar.steps, epochs, batch, time.perf_counter() - start)


def _chip(name: str, engine: str) -> Any:
    """Return the simulated chip called `name`, or that of a user's file; `engine` tells its time."""
    from davinci_sim.platforms import is_file_name, platform_names

    if name not in platform_names() and not is_file_name(name):
        raise unknown("device", name, ["host", *platform_names()])
    from davinci_sim.chip import Chip

    return Chip(name, engine=engine)
