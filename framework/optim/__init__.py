"""Optimisers and learning-rate schedules."""

from framework.optim.adaptive import LAMB, Adam, AdamW, Betas
from framework.optim.momentum import SGD, Momentum
from framework.optim.optimizer import Group, Optimizer, Step, without_decay_of_vectors
from framework.optim.schedule import Schedule, constant, warmup_cosine, warmup_linear, warmup_polynomial

__all__ = [
    "LAMB",
    "SGD",
    "Adam",
    "AdamW",
    "Betas",
    "Group",
    "Momentum",
    "Optimizer",
    "Schedule",
    "Step",
    "constant",
    "warmup_cosine",
    "warmup_linear",
    "warmup_polynomial",
    "without_decay_of_vectors",
]
