"""The chip around the cores: shared memory, tasks and streams, the remembered times of equal tasks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from davinci_sim.chip.chip import Chip
    from davinci_sim.chip.group import Group, GroupTime, TaskTime
    from davinci_sim.chip.stream import Event, Stream
    from davinci_sim.chip.task import Task

__all__ = ["Chip", "Event", "Group", "GroupTime", "Stream", "Task", "TaskTime"]

_HOME = {
    "Chip": "chip",
    "Event": "stream",
    "Group": "group",
    "GroupTime": "group",
    "Stream": "stream",
    "Task": "task",
    "TaskTime": "group",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: a task is declared without the engine."""
    if name not in _HOME:
        raise AttributeError(f"module 'davinci_sim.chip' has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
