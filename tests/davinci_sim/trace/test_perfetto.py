"""The Chrome trace holds every record, and no two events of one track overlap."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise

import pytest

from davinci_sim.errors import CannotWrite
from davinci_sim.trace import write_chrome_trace


def load(path):
    """Return the whole file, its metadata events and its complete events."""
    whole = json.loads(path.read_text())
    events = whole["traceEvents"]
    return whole, [e for e in events if e["ph"] == "M"], [e for e in events if e["ph"] == "X"]


def ns(microseconds: float) -> int:
    """Return the whole nanoseconds that the file's decimal text stands for."""
    return round(microseconds * 1000)


def test_every_record_becomes_one_event_with_its_source(tmp_path, make_trace):
    """At 1 GHz a cycle is a nanosecond, and nothing is rounded."""
    trace = make_trace()
    write_chrome_trace(trace, tmp_path / "trace.json")
    whole, _, events = load(tmp_path / "trace.json")
    assert whole["displayTimeUnit"] == "ns"
    assert whole["otherData"] == {"platform": "ascend910a", "clock_hz": 1e9, "cycles": trace.cycles}
    assert len(events) == len(trace.records)
    for event, record in zip(events, trace.records, strict=True):
        assert event["name"] == trace.op_names[record["op"]]
        assert (event["pid"], event["tid"]) == (record["core"], record["pipe"])
        assert (ns(event["ts"]), ns(event["ts"] + event["dur"])) == (record["start"], record["end"])
        assert event["args"].get("source") == trace.sources.get(int(record["location"]))


def test_tracks_have_the_names_that_ascend_users_know(tmp_path, make_trace):
    """A process per core, a thread per pipe, and a process for what belongs to the whole chip."""
    write_chrome_trace(make_trace(cores=3), tmp_path / "trace.json")
    _, metadata, _ = load(tmp_path / "trace.json")
    named = defaultdict(list)
    for event in metadata:
        if event["name"].endswith("_name"):
            named[event["name"]].append(event["args"]["name"])
    assert named["process_name"] == ["core 0", "core 1", "core 2", "chip"]
    assert named["thread_name"] == ["VECTOR", "CUBE", "MTE1", "MTE2", "MTE3"] * 3


@pytest.mark.parametrize("clock_hz", [1e9, 1.85e9, 0.68e9])
def test_events_of_one_track_never_overlap(tmp_path, make_trace, clock_hz):
    """Viewers drop overlapping events without a word, so rounding to nanoseconds must not make any."""
    write_chrome_trace(make_trace(clock_hz=clock_hz), tmp_path / "trace.json")
    tracks = defaultdict(list)
    for event in load(tmp_path / "trace.json")[2]:
        tracks[event["pid"], event["tid"]].append((ns(event["ts"]), ns(event["ts"]) + ns(event["dur"])))
    assert len(tracks) == 10
    for spans in tracks.values():
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_busy_time_of_each_pipe_survives(tmp_path, make_trace):
    """The events of a pipe add up to the trace's own counter."""
    trace = make_trace()
    write_chrome_trace(trace, tmp_path / "trace.json")
    busy = defaultdict(int)
    for event in load(tmp_path / "trace.json")[2]:
        if event["cat"] == "work":
            busy[trace.pipe_names[event["tid"]]] += ns(event["dur"])
    assert busy == {name: counters["busy_cycles"] for name, counters in trace.pipes().items()}


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path, make_trace):
    """The folder is made, an old file is replaced, temporary files are gone."""
    path = tmp_path / "new" / "trace.json"
    write_chrome_trace(make_trace(steps=2), path)
    first = path.read_bytes()
    write_chrome_trace(make_trace(steps=4), path)
    assert path.read_bytes() != first
    assert [entry.name for entry in path.parent.iterdir()] == ["trace.json"]


def test_a_folder_that_cannot_be_written_is_one_clear_message(tmp_path, make_trace):
    """A file stands where the folder should be."""
    (tmp_path / "results").write_text("a file")
    path = tmp_path / "results" / "trace.json"
    with pytest.raises(CannotWrite) as error:
        write_chrome_trace(make_trace(steps=1), path)
    assert str(error.value) == (
        f"cannot write {path}: File exists; choose another folder or change its permissions"
    )
