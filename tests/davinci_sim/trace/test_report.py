"""A report is one file that holds the whole launch, and works in a browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import zlib
from importlib import resources

import numpy as np
import pytest

from davinci_sim.chip.engine.l2 import new_l2
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.simulate import simulate_launches
from davinci_sim.core.program import Program, parse
from davinci_sim.platforms import platform
from davinci_sim.trace.ledger import CAUSES, PIPE_NAMES, ledger
from davinci_sim.trace.report import Ceiling, Page, Point, Roof, Roofs, page, write_report

P = platform("ascend910a")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PLACE = "my_kernels/<gelu>.py:7"
MOVE = (
    "PIPE_MTE2 data_move dst=UB+0x0 src=GM+0x0 nburst=1 burst_len=64 src_gap=0 dst_gap=0 atomic=0 dtype=uint8"
)
ADD = (
    "PIPE_V vadd dst=UB+0x1000 src0=UB+0x0 src1=UB+0x400 mask=0000000000000000ffffffffffffffff dst_blk=1 "
    "repeat=8 src0_blk=1 src1_blk=1 dst_rep=8 src0_rep=8 src1_rep=8 dtype=fp16"
)
FLAG = "src=5 dst=2 event_id=0 dtype=int32"
TEXT = "\n".join((MOVE, f"PIPE_MTE2 set_flag {FLAG}", f"PIPE_V wait_flag {FLAG}", ADD))
BEHAVIOUR = """
<script>
new MutationObserver(() => {
  const canvas = document.getElementById("timeline"), box = canvas.getBoundingClientRect();
  const before = timeline.to - timeline.from;
  const at = { clientX: box.left + box.width / 2, clientY: box.top + 30, bubbles: true, cancelable: true };
  canvas.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: -500 }));
  const after = timeline.to - timeline.from;
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  canvas.dispatchEvent(new MouseEvent("dblclick", at));
  const painted = new Set();
  for (let i = 0; i < pixels.length; i += 4) painted.add([pixels[i], pixels[i + 1], pixels[i + 2]].join());
  const middle = timeline.x(timeline.lanes[0].start[0] + 0.5);
  timeline.find(middle, 24 + 10);
  document.body.dataset.found = document.querySelectorAll("tr.found").length;
  document.body.dataset.zoomed = before > after && timeline.to - timeline.from === before;
  document.body.dataset.colours = painted.size > 3;
}).observe(document.body, { attributes: true, attributeFilter: ["data-ready"] });
</script>
"""


@pytest.fixture(scope="module")
def launched() -> Page:
    """Return the page of a short launch on two cores."""
    known = parse(TEXT)
    words = known.words.copy()
    words[:, 0] |= 1 << 32
    program = Program(words, {1: PLACE})
    launch = Launch((program, program), block_cycles=10)
    trace = simulate_launches([launch], P, "fast", new_l2(P))
    book = ledger([launch], P, trace)
    roofs = Roofs(
        "TFLOP/s", "operations per byte", (Roof("cube", peak=262.0), Roof("HBM", slope=1.0)),
        (Point("here", 10.0, 5.0),), (Ceiling("memory", 100),),
    )  # fmt: skip
    texts = {PLACE.rpartition(":")[0]: [f"line {number}" for number in range(1, 12)]}
    return Page("a <launch>", "& more", (("time", "1 us"),), ("do less",), trace, book, roofs, texts)


@pytest.fixture(scope="module")
def written(launched, tmp_path_factory):
    """Return the file of the report."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(launched, path)
    return path


def data_of(path):
    """Return the object that the page's script reads."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', path.read_text(), re.S)
    return json.loads(found[1])


def column(text: str) -> np.ndarray:
    """Return a column as the page's script unpacks it."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<i4")


def test_a_report_needs_no_other_file_and_no_network(written):
    """No address is fetched, and the page forbids it to itself."""
    text = written.read_text()
    assert not re.findall(r'(?:src|href)\s*=\s*["\']', text)
    assert not re.findall(r"(?:fetch|import)\(", text)
    assert [each for each in re.findall(r"https?://[^\"' ]+", text) if "www.w3.org" not in each] == []
    assert "default-src 'none'" in text


def test_text_of_the_launch_is_text_and_not_markup(written):
    assert "<title>a &lt;launch&gt;</title>" in written.read_text()
    assert "<gelu>" not in written.read_text()
    assert data_of(written)["lines"][0]["place"] == PLACE


def test_the_columns_of_the_timeline_are_the_trace(written, launched):
    """Every instruction of both cores, with its name and its line."""
    timeline, records = data_of(written)["timeline"], launched.trace.records
    lanes = timeline["lanes"]
    assert sum(len(column(lane["start"])) for lane in lanes) == len(records)
    for lane in lanes:
        pipe = launched.trace.pipe_names.index(lane["pipe"])
        mine = records[(records["core"] == lane["core"]) & (records["pipe"] == pipe)]
        assert column(lane["start"]).tolist() == mine["start"].tolist()
        assert column(lane["length"]).tolist() == (mine["end"] - mine["start"]).tolist()
        names = [timeline["ops"][op] for op in column(lane["op"])]
        assert names == [launched.trace.op_names[op] for op in mine["op"]]
        assert set(column(lane["line"]).tolist()) == {0}


def test_the_critical_core_comes_first(written, launched):
    assert data_of(written)["timeline"]["lanes"][0]["core"] == launched.ledger.critical_core


def test_the_columns_of_the_ledger_add_up(written, launched):
    """The mean over the cores that work is the whole time for each pipe."""
    book = data_of(written)["ledger"]
    assert book["pipes"] == list(PIPE_NAMES)
    assert [round(sum(pipe), 6) for pipe in book["cycles"]] == [launched.trace.cycles] * len(PIPE_NAMES)


def test_every_cause_has_a_colour_of_its_own(launched):
    """In the page's script, under the name that the page shows."""
    script = resources.files("davinci_sim.trace.report").joinpath("page.js").read_text()
    table = script[script.index("const HUES") : script.index("function causeColour")]
    colours = dict(re.findall(r'"?([a-z][a-z0-9 ]*?)"?: (\d+)', table))
    assert set(colours) == {cause.name.replace("_", " ") for cause in CAUSES}
    assert len(set(colours.values())) == len(colours)


def test_lines_are_shown_with_their_neighbours(written):
    (file,) = data_of(written)["files"]
    assert [line["number"] for line in file["lines"]] == [5, 6, 7, 8, 9]
    assert [line["index"] for line in file["lines"]] == [None, None, 0, None, None]


def test_cores_that_do_not_fit_are_left_out_and_told(launched, tmp_path, monkeypatch):
    """The critical core always fits."""
    monkeypatch.setattr(page, "MAX_EVENTS", 1)
    write_report(launched, tmp_path / "small.html")
    timeline = data_of(tmp_path / "small.html")["timeline"]
    assert {lane["core"] for lane in timeline["lanes"]} == {launched.ledger.critical_core}
    assert timeline["left_out"] == "1 of 2 cores are left out, to keep the page small."


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed; on Debian: apt-get install chromium")
def test_the_page_works_in_a_browser(written, tmp_path):
    """It draws, zooms at the wheel, shows all at a double click, and finds the line of an instruction."""
    path = tmp_path / "probe.html"
    path.write_text(written.read_text().replace("</body>", BEHAVIOUR + "</body>"))
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    body = re.search(r"<body[^>]*>", done.stdout)
    assert body is not None
    found = dict(re.findall(r'data-(\w+)="(\w+)"', body[0]))
    assert found == {"ready": "yes", "zoomed": "true", "colours": "true", "found": "1"}
    assert done.stdout.count('class="bar"') == len(PIPE_NAMES)
    assert "<circle" in done.stdout
