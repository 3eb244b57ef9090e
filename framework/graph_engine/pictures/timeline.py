"""The picture of a step: its timeline on all streams, coloured by operator, and their shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from framework.graph_engine.control.profile import Profile
from framework.graph_engine.pictures.canvas import OTHER, chosen, ink_on, legend, new_figure, tidy

LINES, WAITING = 6, "waiting"
LETTER = 0.0053
"""The part of the picture's width that a letter of a share takes."""


def shares_of(profile: Profile) -> dict[str, float]:
    """Return the microseconds of the step that each operator has."""
    shares = dict[str, float]()
    for each in profile:
        shares[each.op] = shares.get(each.op, 0.0) + each.own_us
    return shares


def draw_execute(profile: Profile, known: Mapping[str, str] | None = None) -> Any:
    """Draw the step line by line, a track per stream in each, and the share of every operator."""
    shares = shares_of(profile)
    figure = new_figure(15, 8, f"6 execute  {profile.us / 1e3:,.3f} ms, {len(profile)} tasks")
    *lines, bar = figure.subplots(LINES + 1, 1, height_ratios=(*(1,) * LINES, 0.8))
    colours = chosen(shares, known)
    _draw_lines(lines, profile, colours)
    _draw_shares(bar, profile.us, shares, colours)
    return figure


def _draw_lines(lines: list[Any], profile: Profile, colours: dict[str, str]) -> None:
    """Draw equal parts of the step below each other."""
    from matplotlib.collections import PolyCollection

    timeline, us = profile.timeline, 1e6 / profile.timeline.clock_hz
    ops = {each.name: each.op for each in profile}
    spans = timeline.spans
    streams = {stream: track for track, stream in enumerate(np.unique(spans["stream"]).tolist())}
    corners, filled = [], []
    for row in spans:
        start, end, track = row["start"] * us, row["end"] * us, streams[int(row["stream"])]
        corners.append([(start, track), (end, track), (end, track + 0.9), (start, track + 0.9)])
        filled.append(colours.get(ops.get(timeline.tasks[int(row["task"])].name, ""), OTHER))
    part = max(profile.us, 1e-3) / LINES
    for number, axes in enumerate(lines):
        axes.add_collection(PolyCollection(corners, facecolors=filled, edgecolors="none"))
        axes.set(xlim=(number * part, (number + 1) * part), ylim=(len(streams), 0))
        axes.set_yticks([track + 0.45 for track in streams.values()], [f"s{stream}" for stream in streams])
        tidy(axes)
    lines[-1].set_xlabel("us")


def _draw_shares(axes: Any, step_us: float, shares: dict[str, float], colours: dict[str, str]) -> None:
    """Draw one bar that is the whole step."""
    waiting = max(0.0, step_us - sum(shares.values()))
    at = 0.0
    longest_first = sorted(shares.items(), key=lambda each: -each[1])
    for name, us in (*longest_first, (WAITING, waiting)):
        colour = colours.get(name, "#eeeeee")
        axes.barh(0, us, left=at, color=colour, edgecolor="white", linewidth=0.5)
        if us > LETTER * len(name) * step_us:
            text = f"{name}\n{100 * us / step_us:.1f} %"
            axes.text(
                at + us / 2, 0, text, ha="center", va="center", fontsize=7, color=ink_on(colour), clip_on=True
            )
        at += us
    axes.set(xlim=(0, max(step_us, 1e-3)), yticks=[])
    axes.set_title("shares of the step; where tasks run side by side they share the time", fontsize=10)
    legend(axes, colours)
    axes.set_axis_off()
