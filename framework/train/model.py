"""`Model`: a network, its loss and its optimiser, trained and tested on a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework.data import Dataset
from framework.host import compile_host
from framework.ir.nodes import Func
from framework.ir.types import TensorType
from framework.nn.cell import Cell
from framework.optim import Optimizer
from framework.train.callbacks import Callback, LossMonitor, Progress
from framework.train.checks import check_labels, check_sink_size
from framework.train.runner import Batch, HostRunner, StepRunner
from framework.train.scale import LossScale
from framework.train.step import inference_step, initial_state, training_step

Array = np.ndarray[Any, Any]
Run = Callable[[list[Array]], Sequence[Array]]


@dataclass(frozen=True)
class Score:
    """How well a network does on a data set."""

    loss: float
    accuracy: float
    samples: int


class Model:
    """Trains and tests a network, on the host or, when a device is passed, on that device."""

    def __init__(
        self,
        net: Cell,
        loss: Cell,
        optimizer: Optimizer | None = None,
        device: Any = None,
        loss_scale: LossScale = None,
    ) -> None:
        """Take the parts; nothing is compiled before training."""
        self.net, self.loss, self.optimizer, self.device = net, loss, optimizer, device
        self.loss_scale = loss_scale
        self.runner: StepRunner | None = None
        self.step_func: Func | None = None
        self._inference: dict[TensorType, tuple[Func, Run]] = {}

    def train(
        self, epochs: int, dataset: Dataset, callbacks: Sequence[Callback] = (), sink_size: int = 1
    ) -> StepRunner:
        """Train, `sink_size` steps to one call of the runner; the Cell has the trained weights at the end."""
        total, done = epochs * len(dataset), 0
        if not total:
            raise DavinciError(
                f"nothing to train: {epochs} epochs of {len(dataset)} batches; "
                "use a smaller batch size or more epochs"
            )
        check_sink_size(sink_size)
        watchers = [LossMonitor(), *callbacks]
        runner = self._runner(dataset)
        for epoch in range(epochs):
            batches = self._batches(dataset, epoch, done)
            while group := list(islice(batches, sink_size)):
                losses, logits = runner.run(group)
                for batch, loss, scores in zip(group, losses, logits, strict=True):
                    done += 1
                    progress = Progress(done, total, epoch + 1, float(loss), _accuracy(scores, batch.labels))
                    for each in watchers:
                        each.step_end(progress)
            for each in watchers:
                each.epoch_end(progress)
        self._write_back(runner)
        return runner

    def eval(self, dataset: Dataset) -> Score:
        """Return mean loss and accuracy on a data set, with the weights of the Cell."""
        loss, right, samples = 0.0, 0, 0
        for x, labels in dataset.epoch(0):
            logits = self.predict(x)
            wide = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
            chosen = wide[np.arange(len(labels)), labels]
            loss += float((np.log(np.exp(wide).sum(axis=1)) - chosen).sum())
            right += int((logits.argmax(axis=1) == labels).sum())
            samples += len(labels)
        return Score(loss / samples, right / samples, samples)

    def predict(self, x: Array) -> Array:
        """Return the network's result for a batch, computed where the Model trains."""
        weights = {name: parameter.numpy() for name, parameter in self.net.parameters_and_names()}
        func, run = self._inference_of(TensorType.of(x))
        return run([x, *(weights[param.name] for param in func.params[1:])])[0]

    def _inference_of(self, x: TensorType) -> tuple[Func, Run]:
        """Return the Func of the network for a type of input, and what runs it: NumPy, or the device."""
        if x not in self._inference:
            func = inference_step(self.net, x)
            run = compile_host(func) if self.device is None else self._compiled(func)
            self._inference[x] = (func, run)
        return self._inference[x]

    def _compiled(self, func: Func) -> Run:
        from framework.graph_engine import compile_for_device

        return compile_for_device(func, self.device)

    def _runner(self, dataset: Dataset) -> StepRunner:
        """Return the runner, made for the types of the first batch."""
        if self.optimizer is None:
            raise DavinciError(
                "this Model has no optimizer and cannot train; pass one, for example optim.Momentum"
            )
        if self.runner is None:
            x, labels = next(iter(dataset.epoch(0)))
            types = (TensorType.of(x), TensorType.of(labels))
            func = training_step(self.net, self.loss, self.optimizer, *types, loss_scale=self.loss_scale)
            state = initial_state(self.net, self.optimizer, self.loss_scale)
            self.runner = HostRunner(func, state) if self.device is None else self._on_device(func, state)
            self.step_func = func
        return self.runner

    def _on_device(self, func: Func, state: dict[str, Array]) -> StepRunner:
        from framework.graph_engine import step_runner_for_device

        runner: StepRunner = step_runner_for_device(func, state, self.device)
        return runner

    def _batches(self, dataset: Dataset, epoch: int, done: int) -> Iterator[Batch]:
        schedule = self.optimizer.schedule if self.optimizer is not None else None
        for offset, (x, labels) in enumerate(dataset.epoch(epoch)):
            check_labels(labels, self._classes(), f"batch {offset} of epoch {epoch + 1}")
            yield Batch(x, labels, schedule(done + offset) if schedule is not None else 0.0)

    def _classes(self) -> int:
        """Return how many classes the network tells apart: the length of the last axis of its result."""
        assert self.step_func is not None
        shape = self.step_func.results[1].tensor.shape
        return shape[-1] if shape else 1

    def _write_back(self, runner: StepRunner) -> None:
        state = runner.state()
        for name, parameter in self.net.parameters_and_names():
            if name in state:
                parameter.set_data(state[name])


def _accuracy(logits: Array, labels: Array) -> float:
    return float((logits.argmax(axis=1) == labels).mean())
