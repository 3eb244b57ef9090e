"""The timeline of streams as Chrome trace events, which Perfetto opens: tasks, labels, jumps."""

from __future__ import annotations

import json
from pathlib import Path

from davinci_sim.chip.flow import Timeline
from davinci_sim.trace.files import atomic_file


def write_stream_trace(timeline: Timeline, path: str | Path) -> None:
    """Write a Chrome trace, in microseconds: a track per stream, and an event for every task that ran."""
    about = {"clock_hz": timeline.clock_hz, "cycles": timeline.cycles}
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ns","otherData":' + json.dumps(about) + ',"traceEvents":[\n')
        file.write(",\n".join(json.dumps(event) for event in timeline.events()))
        file.write("\n]}\n")
