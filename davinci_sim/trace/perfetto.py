"""A trace as Chrome trace events, which Perfetto, chrome://tracing and MindStudio Insight open."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

from davinci_sim.core.order import SET
from davinci_sim.core.program import Program
from davinci_sim.core.trace import SYNC, Trace
from davinci_sim.trace.counters import counters
from davinci_sim.trace.files import atomic_file
from davinci_sim.trace.ledger.flags import partners

# the names of the tracks in the vendor's simulator traces
TRACKS = {"S": "SCALAR", "V": "VECTOR", "M": "CUBE", "FIX": "FIXP", "ALL": "FLOWCTRL"}


CHIP = 1 << 15
"""The process of what belongs to no core; cores have lower numbers."""


def write_chrome_trace(trace: Trace, path: str | Path, programs: Sequence[Program] = ()) -> None:
    """Write the trace as a Chrome trace: a process per core, a thread per pipe, an event per instruction.

    Times are microseconds with three digits (whole nanoseconds); a start and an end are rounded alike, so
    that events of one pipe never overlap. An event carries its cycles, its place in the
    program and its source line. Curves show how many cubes and vector units work.

    With the `programs` of the trace, in its order, an arrow leads from each set_flag to the wait_flag that
    takes the flag, and curves show the bytes from and to device memory. (Above 1 GHz instructions share a
    nanosecond; a viewer may then attach an arrow to a neighbour.)
    """
    scale = Fraction(10**9) / Fraction(trace.clock_hz)
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        about = {"platform": trace.platform_name, "clock_hz": trace.clock_hz, "cycles": trace.cycles}
        file.write('{"displayTimeUnit":"ns","otherData":' + json.dumps(about) + ',"traceEvents":[\n')
        separator = ""
        flows, curves = _flows(trace, programs, scale), _curves(trace, programs, scale)
        for line in chain(_tracks(trace), _events(trace, scale), flows, curves):
            file.write(separator + line)
            separator = ",\n"
        file.write("\n]}\n")


def _tracks(trace: Trace) -> Iterator[str]:
    """Yield the events that name processes and threads, in the order in which they shall be shown."""
    for core in trace.cores:
        yield _metadata("process_name", core, 0, {"name": f"core {core}"})
        yield _metadata("process_sort_index", core, 0, {"sort_index": core})
        mine = trace.records[trace.records["core"] == core]
        for pipe in sorted(set(mine["pipe"].tolist())):
            name = trace.pipe_names[pipe]
            yield _metadata("thread_name", core, pipe, {"name": TRACKS.get(name, name)})
            yield _metadata("thread_sort_index", core, pipe, {"sort_index": pipe})


def _metadata(name: str, core: int, pipe: int, args: dict[str, object]) -> str:
    """Return one metadata event."""
    return json.dumps({"ph": "M", "name": name, "pid": core, "tid": pipe, "args": args})


def _events(trace: Trace, scale: Fraction) -> Iterator[str]:
    """Yield one complete event per record; text is put together by hand because there may be millions."""
    names = [
        f'"name":{json.dumps(name)},"cat":{json.dumps("sync" if name in SYNC else "work")}'
        for name in trace.op_names
    ]
    places = {location: f',"source":{json.dumps(source)}' for location, source in trace.sources.items()}
    up, down = scale.numerator, scale.denominator
    fields = ("core", "pipe", "op", "start", "end", "location", "index")
    for core, pipe, op, start, end, location, index in zip(
        *(trace.records[field].tolist() for field in fields), strict=True
    ):
        start_ns, end_ns = start * up // down, end * up // down
        yield (
            f'{{"ph":"X",{names[op]},"pid":{core},"tid":{pipe},"ts":{_us(start_ns)},'
            f'"dur":{_us(end_ns - start_ns)},'
            f'"args":{{"cycles":{end - start},"index":{index}{places.get(location, "")}}}}}'
        )


def _flows(trace: Trace, programs: Sequence[Program], scale: Fraction) -> Iterator[str]:
    """Yield the two ends of an arrow for every flag that is set and waited for."""
    first, number = 0, 0
    for program in programs:
        rows = trace.records[first : first + len(program)]
        first += len(program)
        sets = np.flatnonzero(rows["op"] == SET)
        waits = partners(program)[sets]
        ends = (rows[field][at].tolist() for at in (sets, waits) for field in ("core", "pipe", "start"))
        for core, src, start, _, dst, end in zip(*ends, strict=True):
            number += 1
            about = f'"cat":"flag","name":"{trace.pipe_names[src]} to {trace.pipe_names[dst]}","id":{number}'
            yield f'{{"ph":"s",{about},"pid":{core},"tid":{src},"ts":{_us(int(start * scale))}}}'
            yield f'{{"ph":"f","bp":"e",{about},"pid":{core},"tid":{dst},"ts":{_us(int(end * scale))}}}'


def _curves(trace: Trace, programs: Sequence[Program], scale: Fraction) -> Iterator[str]:
    """Yield the curves of the chip, each where its value changes."""
    yield _metadata("process_name", CHIP, 0, {"name": "chip"})
    yield _metadata("process_sort_index", CHIP, 0, {"sort_index": -1})
    for curve in counters(trace, programs):
        before = None
        for start, value in zip(curve.starts.tolist(), curve.values.tolist(), strict=True):
            if value != before:
                args = f'{{"{curve.unit}":{value:.6g}}}'
                ts = _us(int(start * scale))
                yield f'{{"ph":"C","name":"{curve.name}","pid":{CHIP},"ts":{ts},"args":{args}}}'
            before = value


def _us(nanoseconds: int) -> str:
    """Write nanoseconds as microseconds, exactly.

    >>> _us(12345)
    '12.345'
    """
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03d}"
