"""One picture for each of the six steps; a network of thousands of nodes is drawn by its layers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from framework.graph_engine.control.profile import Profile
from framework.graph_engine.control.session import Session
from framework.graph_engine.pictures.canvas import colours_of
from framework.graph_engine.pictures.graphs import draw_optimize, draw_prepare, draw_split
from framework.graph_engine.pictures.memory import bytes_made, draw_compile, draw_load
from framework.graph_engine.pictures.timeline import draw_execute, shares_of

Draw = Callable[[Session, Profile], Any]
PICTURES: dict[str, Draw] = {
    "1 prepare": lambda session, profile: draw_prepare(session.prepared, operator_colours(session, profile)),
    "2 split": lambda session, profile: draw_split(session.placed, operator_colours(session, profile)),
    "3 optimize": lambda session, profile: draw_optimize(
        session.placed, session.optimized, operator_colours(session, profile)
    ),
    "4 compile": lambda session, profile: draw_compile(session.compiled, operator_colours(session, profile)),
    "5 load": lambda session, profile: draw_load(session.loaded),
    "6 execute": lambda session, profile: draw_execute(profile, operator_colours(session, profile)),
}
"""What draws each step, by the name that its text has; it returns a figure of Matplotlib."""


def operator_colours(session: Session, profile: Profile) -> dict[str, str]:
    """Return a colour for each operator, the same in all pictures of a session.

    Those that take most of the step, of the workspace, or of the nodes have one; all others are grey.
    """
    counts = Counter(node.op for node in (*session.prepared.nodes, *session.optimized.nodes))
    weights: defaultdict[str, float] = defaultdict(float)
    for each in (shares_of(profile), bytes_made(session.compiled), counts):
        whole = sum(each.values()) or 1
        for name, weight in each.items():
            weights[name] += weight / whole
    return colours_of(weights)


__all__ = ["PICTURES", "operator_colours"]
