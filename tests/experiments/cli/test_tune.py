"""`davinci kernel tune`: what it prints and keeps, and that `kernel run` says whose tiling it uses."""

from __future__ import annotations

import importlib
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

import kernels
from davinci_sim.errors import BadShape
from kernels.tune.store import text_of

SHAPE = ("--shape", "n=100000")
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples" / "my_kernels"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Keep tilings in a folder of this test."""
    monkeypatch.setenv("DAVINCI_TUNINGS", str(tmp_path / "tunings"))
    return tmp_path / "tunings"


@pytest.fixture
def gelu(tmp_path):
    """Return the example kernel with a default tiling that is far from good."""
    folder = Path(shutil.copytree(EXAMPLES, tmp_path / "mine"))
    path = folder / "gelu.py"
    path.write_text(path.read_text().replace("cls(tile=4096)", "cls(tile=128, slots=1)"))
    return f"{path}:gelu"


def run(answer, name: str, *more: str):
    """Return what a run without data says."""
    return answer("kernel", "run", name, *SHAPE, "--no-data", *more)


def test_a_search_is_kept_and_the_run_says_so(folder, gelu, answer, davinci):
    before = run(answer, gelu)
    found = answer("kernel", "tune", gelu, *SHAPE)
    assert (found["default_cycles"], found["default"]) == (before["cycles"], before["tiling"])
    assert found["cycles"] < found["default_cycles"]
    assert 0 < found["simulated"] <= found["candidates"]
    after = run(answer, gelu)
    assert (after["cycles"], after["tiling"]) == (found["cycles"], found["tiling"])
    given = run(answer, gelu, "--tiling", "slots=1")
    assert [each["tiling_from"] for each in (before, after, given)] == ["default", "tuned", "given"]
    assert "(tuned) on" in davinci("kernel", "run", gelu, *SHAPE, "--no-data").stdout
    (entry,) = tomllib.loads((folder / "ascend910a.toml").read_text())["tuned"]
    assert entry["cycles"] == found["cycles"]


def test_the_file_is_the_same_for_any_number_of_jobs(answer, tmp_path):
    files = []
    for jobs in ("1", "3"):
        answer("kernel", "tune", "add", "--shape", "n=5000", "--jobs", jobs, "--folder", str(tmp_path / jobs))
        files.append((tmp_path / jobs / "ascend910a.toml").read_text())
    assert files[0] == files[1]
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["ascend910a.toml"]  # no journal is left


def test_people_are_told_both_tilings(folder, gelu, davinci):
    result = davinci("kernel", "tune", gelu, *SHAPE)
    assert result.exit_code == 0
    for title in ("default", "best", "searched", "kept in"):
        assert title in result.stdout
    assert " times as fast" in result.stdout


def test_a_folder_that_cannot_be_written_is_found_out_before_the_search(refusal, tmp_path):
    (tmp_path / "file").write_text("")
    message = refusal("kernel", "tune", "add", *SHAPE, "--folder", tmp_path / "file" / "deeper")
    assert message.startswith(f"cannot write {tmp_path / 'file' / 'deeper'}: ")


def test_without_a_folder_the_next_step_is_told(refusal):
    assert refusal("kernel", "tune", "add", *SHAPE) == (
        "DAVINCI_TUNINGS is empty\n  rule: tilings are kept in a folder\n  next: name one, or unset it"
    )


def outcomes(answer, *options: str) -> dict[str, str]:
    """Return what `retune` says of every entry, by kernel and beginning of the shape."""
    entries = answer("kernel", "retune", *options)["entries"]
    return {f"{each['kernel']} {each['shape'].partition(',')[0]}": each["outcome"] for each in entries}


@pytest.fixture
def poor_default(monkeypatch):
    """Let a search take the default tiling with one buffer for the default one."""

    def candidates(kernel, shape, chip):
        best = kernel.untuned(shape, chip)
        return [replace(best, slots=1), best]

    monkeypatch.setattr(importlib.import_module("kernels.tune.search"), "candidates", candidates)


def test_retune_searches_where_an_entry_no_longer_holds(folder, poor_default, answer):
    """Entries that hold stay, stale ones are searched anew, those of kernels that are gone are dropped."""
    for name in ("add", "relu"):
        answer("kernel", "tune", name, "--shape", "n=1000000")
    path = folder / "ascend910a.toml"
    kept = path.read_text()
    assert outcomes(answer) == {"add n=1000000": "holds", "relu n=1000000": "holds"}
    add, relu = tomllib.loads(kept)["tuned"]
    stale = {**add, "digest": "0" * 16}
    write(path, stale, relu, {**stale, "kernel": "addd"})
    assert outcomes(answer) == {"add n=1000000": "found", "addd n=1000000": "gone", "relu n=1000000": "holds"}
    assert path.read_text() == kept


def test_retune_can_take_the_kernels_of_networks(folder, answer, monkeypatch):
    """Two of them here, one of which is in no network."""
    monkeypatch.setattr(kernels, "load", lambda: {name: kernels.find(name) for name in ("relu", "exp")})
    monkeypatch.setattr(importlib.import_module("kernels.samples"), "network_shapes", sizes)
    told = answer("kernel", "retune", "--networks", "--gain", "50")["entries"]
    assert [(each["kernel"], each["outcome"]) for each in told] == [("relu", "no better")]


def sizes(kernel):
    """Yield a shape for relu, and refuse every other kernel."""
    if kernel.name != "relu":
        raise BadShape(f"kernel {kernel.name}: no network has it")
    yield kernel.shape_type.of("relu", {"n": 5000})


def test_retune_forgets_what_is_no_better_than_the_default(folder, poor_default, answer):
    """Or not by as much as is asked for."""
    answer("kernel", "tune", "add", "--shape", "n=1000000")
    path = folder / "ascend910a.toml"
    (entry,) = tomllib.loads(path.read_text())["tuned"]
    write(path, {**entry, "digest": "0" * 16})
    assert outcomes(answer, "--gain", "900") == {"add n=1000000": "no better"}
    assert tomllib.loads(path.read_text()).get("tuned", []) == []


def write(path, *entries):
    """Write a file of the chip as if a search had found these entries."""
    path.write_text(text_of("ascend910a", {(each["kernel"], each["shape"]): each for each in entries}))
