"""One picture for each of the six steps; a network of thousands of nodes is told in sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from framework.graph_engine.control.profile import Profile
from framework.graph_engine.control.session import Session
from framework.graph_engine.pictures.graphs import draw_optimize, draw_prepare, draw_split
from framework.graph_engine.pictures.memory import draw_compile, draw_load
from framework.graph_engine.pictures.timeline import draw_execute

Draw = Callable[[Session, Profile], Any]
PICTURES: dict[str, Draw] = {
    "1 prepare": lambda session, profile: draw_prepare(session.prepared),
    "2 split": lambda session, profile: draw_split(session.placed),
    "3 optimize": lambda session, profile: draw_optimize(session.placed, session.optimized),
    "4 compile": lambda session, profile: draw_compile(session.compiled),
    "5 load": lambda session, profile: draw_load(session.loaded),
    "6 execute": lambda session, profile: draw_execute(profile),
}
"""What draws each step, by the name that its text has; it returns a figure of Matplotlib."""

__all__ = ["PICTURES"]
