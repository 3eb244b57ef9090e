"""Dumps: a text and a picture of each step, found damaged if they are."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from davinci_sim.chip import Chip
from davinci_sim.errors import CannotWrite
from framework import models
from framework.graph_engine import Session
from framework.graph_engine.control import dump as dump_module
from framework.graph_engine.control.dump import MANIFEST, BadDump, read_dump, write_dump
from framework.graph_engine.pictures import PICTURES, operator_colours
from framework.graph_engine.pictures.canvas import COLOURS, OTHER
from framework.graph_engine.pictures.graphs import FIGURE_WIDTH, draw_prepare, draw_split

RESULT = {"model": "lenet5", "step_ms": 0.25}
STEPS = ["1_prepare", "2_split", "3_optimize", "4_compile", "5_load", "6_execute"]


@pytest.fixture(scope="module")
def session():
    """Return LeNet-5's training step of 2 images on a chip that only tells time."""
    step = models.lenet5.training(models.config("lenet5"), 2)
    chip = Chip("ascend910a", data=False)
    return Session(step.func, chip, dict.fromkeys(step.held, np.zeros(0)))


@pytest.fixture(scope="module")
def whole(session, tmp_path_factory):
    """Return a folder with a dump."""
    folder = tmp_path_factory.mktemp("dump")
    write_dump(folder, session, session.profile(), RESULT)
    return folder


@pytest.fixture
def dump(whole, tmp_path):
    """Return a dump that may be damaged."""
    return shutil.copytree(whole, tmp_path / "dump")


def test_a_dump_has_a_text_and_a_picture_of_each_step(dump):
    names = {f"{step}.{ending}" for step in STEPS for ending in ("txt", "png")}
    assert {path.name for path in dump.iterdir()} == names | {MANIFEST, "result.json"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in dump.glob("*.png"))
    assert read_dump(dump) == RESULT


def test_the_text_of_loading_tells_every_address(session, dump):
    lines = (dump / "5_load.txt").read_text().splitlines()
    assert lines[0] == f"train_LeNet5 on ascend910a: {len(session.loaded.tasks)} tasks bound"
    handle = session.loaded.handles["conv1.weight"]
    size = session.loaded.graph.values["conv1.weight"].nbytes
    assert f"{handle:>14,} {size:>14,}  variable  %conv1.weight" in lines


def test_ranges_of_device_memory_do_not_overlap(session):
    places = session.loaded.places()
    ends = [place.start + place.nbytes for place in places]
    assert all(end <= after.start for end, after in zip(ends, places[1:], strict=False))
    assert ends[-1] <= session.chip.allocated_bytes


def test_the_text_of_execution_has_times_and_the_timeline(session, dump):
    text = (dump / "6_execute.txt").read_text()
    assert "conv2d.2" in text
    assert text.endswith(session.profile().timeline.text())


def test_every_step_has_a_picture(session):
    assert [step.replace(" ", "_") for step in PICTURES] == STEPS
    assert [*PICTURES][:5] == [*session.texts()]


def test_a_graph_of_many_nodes_has_a_readable_picture(session):
    """Nodes are drawn by their layers: the picture is as wide as that of few, and no higher than its rows."""
    graph = session.placed
    many = tuple(replace(node, name=f"{node.name}.{copy}") for copy in range(90) for node in graph.nodes)
    large = replace(graph, nodes=many)
    assert len(large.nodes) > 5000
    for draw in (draw_prepare, draw_split):
        few, more = draw(graph), draw(large)
        assert max(few.get_size_inches()[0], more.get_size_inches()[0]) <= FIGURE_WIDTH
        assert more.get_size_inches()[1] < few.get_size_inches()[1] * 2
        assert len(few.axes) == len(more.axes)


def test_an_operator_has_the_same_colour_in_every_picture(session):
    """The one colour table goes to all pictures, whatever weighs most in each of them."""
    colours = operator_colours(session, session.profile())
    assert len(set(colours.values()) - {OTHER}) == len(COLOURS)
    drawn = [PICTURES[step](session, session.profile()) for step in ("4 compile", "6 execute")]
    for figure in drawn:
        legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
        for text, handle in zip(legends[-1].get_texts(), legends[-1].legend_handles, strict=True):
            named = colours.get(text.get_text(), OTHER)
            assert to_hex(handle.get_facecolor()) == named


def test_a_damaged_file_is_named_with_both_digests(dump):
    path = dump / "3_optimize.txt"
    told = json.loads((dump / MANIFEST).read_text())["sha256"][path.name]
    path.write_text(path.read_text().replace("conv2d", "conv3d"))
    with pytest.raises(BadDump) as refused:
        read_dump(dump)
    first, second = str(refused.value).split("\n")
    assert first.startswith(f"{path} is damaged: its SHA-256 is ")
    assert first.endswith(f", the manifest says {told[:12]}")
    assert second == "  next: write the dump anew"


def test_a_missing_file_is_damage(dump):
    (dump / "4_compile.png").unlink()
    with pytest.raises(BadDump, match=r"4_compile\.png is damaged: its SHA-256 is nothing, the"):
        read_dump(dump)


def test_a_folder_without_a_manifest_is_no_dump(tmp_path):
    with pytest.raises(BadDump) as refused:
        read_dump(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path} holds no whole dump: manifest.json is missing\n  next: write one with --dump {tmp_path}"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": 5, "format": ""}'])
def test_a_manifest_that_is_none_is_refused(dump, text):
    (dump / MANIFEST).write_text(text)
    with pytest.raises(BadDump, match=r"manifest\.json cannot be read: .*\n  next: write the dump anew"):
        read_dump(dump)


def test_a_dump_of_another_version_is_refused(dump):
    (dump / MANIFEST).write_text('{"format": "davinci dump 9", "sha256": {}}')
    with pytest.raises(BadDump) as refused:
        read_dump(dump)
    assert str(refused.value) == (
        f"{dump} is of format 'davinci dump 9'\n  rule: this version reads 'davinci dump 1'"
    )


def test_a_manifest_must_name_the_result(dump):
    """Without a digest of the result nothing vouches for it."""
    (dump / MANIFEST).write_text('{"format": "davinci dump 1", "sha256": {}}')
    with pytest.raises(BadDump, match=r"names no result\.json"):
        read_dump(dump)


@pytest.fixture
def stopped(session, monkeypatch):
    """Return a function that writes a dump on a disk that is full at the end."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def write(folder):
        monkeypatch.setattr(dump_module.os, "fsync", full)
        with pytest.raises(CannotWrite) as refused:
            write_dump(folder, session, session.profile(), {**RESULT, "step_ms": 0.5})
        return str(refused.value)

    return write


def test_what_stops_the_writing_leaves_nothing_half_written(stopped, tmp_path):
    folder = tmp_path / "new"
    assert stopped(folder) == (
        f"cannot write {folder}: No space left on device; choose another folder or change its permissions"
    )
    assert list(folder.iterdir()) == []


def test_what_stops_the_writing_leaves_an_older_dump_as_it_was(stopped, dump):
    names = sorted(path.name for path in dump.iterdir())
    stopped(dump)
    assert sorted(path.name for path in dump.iterdir()) == names
    assert read_dump(dump) == RESULT


def vouched(dump, text):
    """Replace the result of a dump, and its digest with it."""
    (dump / "result.json").write_text(text)
    manifest = json.loads((dump / MANIFEST).read_text())
    manifest["sha256"]["result.json"] = hashlib.sha256(text.encode()).hexdigest()
    (dump / MANIFEST).write_text(json.dumps(manifest))


def test_a_result_without_what_is_needed_is_refused(dump):
    """A dump of another version may be whole, and tell something else."""
    vouched(dump, '{"model": "lenet5"}')
    with pytest.raises(BadDump) as refused:
        read_dump(dump, ("ops", "model", "classes"))
    assert str(refused.value) == (
        f"{dump / 'result.json'} lacks classes, ops\n"
        "  rule: it is what davinci simulate --json prints\n  next: write the dump anew"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_result_that_is_no_table_is_refused(dump, text):
    vouched(dump, text)
    with pytest.raises(BadDump, match=r"result\.json (cannot be read: |lacks everything)"):
        read_dump(dump)


def test_the_text_of_loading_says_why_tensors_lie_far_apart(dump):
    second = (dump / "5_load.txt").read_text().splitlines()[1]
    assert second.startswith("each begins at a multiple of 2,097,152 bytes, where layers that are alike meet")


def test_the_plan_is_told_by_what_it_needs(session, dump):
    """Not by the addresses of a chip that spreads its tensors: picture and text agree."""
    last = (dump / "4_compile.txt").read_text().splitlines()[-1]
    needed = session.compiled.memory.dense
    assert last.startswith(f"workspace {needed.peak_bytes:,} bytes; alive at most {needed.live_bytes:,}; ")
