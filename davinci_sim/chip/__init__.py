"""The chip around the cores: shared memory, tasks and streams, the remembered times of equal tasks."""

from davinci_sim.chip.chip import Chip
from davinci_sim.chip.remembered import TaskTime
from davinci_sim.chip.stream import Event, Stream
from davinci_sim.chip.task import Task

__all__ = ["Chip", "Event", "Stream", "Task", "TaskTime"]
