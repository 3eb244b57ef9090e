"""Optimisers and learning-rate schedules."""

from framework.optim.momentum import Momentum
from framework.optim.schedule import Schedule, constant, warmup_cosine

__all__ = ["Momentum", "Schedule", "constant", "warmup_cosine"]
