"""The kit's part of the comparison."""

from __future__ import annotations

import numpy as np

from experiments.bench.autodiff import looped
from experiments.bench.compare.timing import (
    LOWERED,
    RUN,
    TRACED,
    TURNS,
    Found,
    Stages,
    report,
    seconds,
)
from experiments.bench.networks.training import TRAININGS
from framework import Tensor, value_and_grad


def networks(name: str) -> Stages:
    """Return the stages of a training step."""
    training = TRAININGS[name]
    step, batch = training.step(), training.batch()
    return {
        TRACED: lambda: step.trace(None, batch, {}),
        LOWERED: lambda: step.optimized(batch, {}),
    }


def loop() -> Found:
    """Return what a loop takes whose trip count is data."""
    x = Tensor(np.float64(0.5))
    step = value_and_grad(looped)
    step(x, TURNS)  # compiles
    return {TRACED: seconds(lambda: step.trace(None, (x, TURNS), {})), RUN: seconds(lambda: step(x, TURNS))}


if __name__ == "__main__":
    report(networks, loop)
