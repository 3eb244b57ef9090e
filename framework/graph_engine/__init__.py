"""The graph engine: three layers, six steps, from a Func to tasks on a simulated chip.

control/   execution control: sessions, options, training runs, profiles
service/   prepare, split, optimize, compile, load, execute
data/      data management: the graph store, the operator store, the memory plan
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.graph_engine.control.runner import DeviceRunner
from framework.graph_engine.control.session import DeviceFunction, Session, as_chip
from framework.graph_engine.options import Options
from framework.ir.nodes import Func

__all__ = [
    "DeviceFunction",
    "DeviceRunner",
    "Options",
    "Session",
    "compile_for_device",
    "step_runner_for_device",
]


def compile_for_device(func: Func, device: Any) -> DeviceFunction:
    """Return a Func compiled onto a chip (or a platform's name)."""
    return DeviceFunction(func, as_chip(device))


def step_runner_for_device(func: Func, state: Mapping[str, Any], device: Any) -> DeviceRunner:
    """Return a training step that runs on a chip (or a platform's name)."""
    return DeviceRunner(func, state, device)
