"""The chip around the cores: shared memory, tasks, the remembered times of equal tasks."""

from davinci_sim.chip.chip import Chip
from davinci_sim.chip.task import Task

__all__ = ["Chip", "Task"]
