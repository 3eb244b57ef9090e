"""`davinci kernel tune`: what it prints and keeps, and that `kernel run` says whose tiling it uses."""

from __future__ import annotations

import sys
import tomllib

import pytest

SHAPE = ("--shape", "m=1024,k=64,n=1024")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Keep tilings in a folder of this test."""
    monkeypatch.setenv("DAVINCI_TUNINGS", str(tmp_path / "tunings"))
    return tmp_path / "tunings"


def run(answer, *more: str):
    """Return what a run without data says."""
    return answer("kernel", "run", "matmul", *SHAPE, "--no-data", *more)


def test_a_search_is_kept_and_the_run_says_so(folder, answer, davinci):
    before = run(answer)
    found = answer("kernel", "tune", "matmul", *SHAPE)
    assert (found["default_cycles"], found["default"]) == (before["cycles"], before["tiling"])
    assert found["cycles"] < found["default_cycles"]
    assert 0 < found["simulated"] <= found["candidates"]
    after = run(answer)
    assert (after["cycles"], after["tiling"]) == (found["cycles"], found["tiling"])
    given = run(answer, "--tiling", "slots=1")
    assert [each["tiling_from"] for each in (before, after, given)] == ["default", "tuned", "given"]
    assert "(tuned) on" in davinci("kernel", "run", "matmul", *SHAPE, "--no-data").stdout
    (entry,) = tomllib.loads((folder / "ascend910a.toml").read_text())["tuned"]
    assert entry["cycles"] == found["cycles"]


def test_the_file_is_the_same_for_any_number_of_jobs(answer, tmp_path):
    files = []
    for jobs in ("1", "3"):
        answer("kernel", "tune", "add", "--shape", "n=5000", "--jobs", jobs, "--folder", str(tmp_path / jobs))
        files.append((tmp_path / jobs / "ascend910a.toml").read_text())
    assert files[0] == files[1]
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["ascend910a.toml"]  # no journal is left


def test_people_are_told_both_tilings(folder, davinci):
    result = davinci("kernel", "tune", "matmul", *SHAPE)
    assert result.exit_code == 0
    for title in ("default", "best", "searched", "kept in"):
        assert title in result.stdout
    assert " times as fast" in result.stdout


def test_a_folder_that_cannot_be_written_is_found_out_before_the_search(refusal, tmp_path):
    (tmp_path / "file").write_text("")
    message = refusal("kernel", "tune", "matmul", *SHAPE, "--folder", tmp_path / "file" / "deeper")
    assert message.startswith(f"cannot write {tmp_path / 'file' / 'deeper'}: ")


def test_without_a_folder_the_next_step_is_told(refusal):
    assert refusal("kernel", "tune", "matmul", *SHAPE) == (
        "DAVINCI_TUNINGS is empty\n  rule: tilings are kept in a folder\n  next: name one, or unset it"
    )


def outcomes(answer) -> dict[str, str]:
    """Return what `retune` says of every entry, by kernel and beginning of the shape."""
    entries = answer("kernel", "retune")["entries"]
    return {f"{each['kernel']} {each['shape'].partition(',')[0]}": each["outcome"] for each in entries}


def test_retune_searches_where_an_entry_no_longer_holds(folder, answer):
    """Entries that hold stay, stale ones are searched anew, those of kernels that are gone are dropped."""
    answer("kernel", "tune", "matmul", *SHAPE)
    answer("kernel", "tune", "relu", "--shape", "n=50000")
    path = folder / "ascend910a.toml"
    kept = path.read_text()
    assert outcomes(answer) == {"matmul m=1024": "holds", "relu n=50000": "holds"}
    stale = kept.replace(tomllib.loads(kept)["tuned"][0]["digest"], "0" * 16)
    gone = stale.split("\n\n")[1].replace('"matmul"', '"matmull"')
    path.write_text(f"{stale}\n{gone}\n")
    assert outcomes(answer) == {"matmul m=1024": "found", "matmull m=1024": "gone", "relu n=50000": "holds"}
    assert path.read_text() == kept


def test_retune_forgets_what_is_no_better_than_the_default(folder, answer, monkeypatch):
    """Here since there is no other candidate any more."""
    answer("kernel", "tune", "matmul", *SHAPE)
    path = folder / "ascend910a.toml"
    (entry,) = tomllib.loads(path.read_text())["tuned"]
    path.write_text(path.read_text().replace(entry["digest"], "0" * 16))
    search = sys.modules["kernels.tune.search"]
    monkeypatch.setattr(search, "candidates", lambda kernel, shape, chip: [kernel.untuned(shape, chip)])
    assert outcomes(answer) == {"matmul m=1024": "no better"}
    assert tomllib.loads(path.read_text()).get("tuned", []) == []
