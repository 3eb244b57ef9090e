"""Whether machine code is ready is asked of the functions once, and then of the times of their files."""

import kernels
from kernels import compiled


def test_what_was_ready_is_not_digested_again_while_no_source_is_touched(tmp_path, monkeypatch):
    asked, marker = [], tmp_path / "ready" / "by digest"
    marker.parent.mkdir()
    monkeypatch.setattr(compiled, "CACHE_FOLDER", str(tmp_path))
    monkeypatch.setattr(compiled, "_marker", lambda name: asked.append(name) or marker)
    assert not compiled._is_ready("add")
    marker.touch()
    assert [compiled._is_ready("add") for _ in range(3)] == [True] * 3
    assert asked == ["add", "add"]
    monkeypatch.setattr(compiled, "_state_of_sources", lambda: "another")
    assert compiled._is_ready("add")
    assert asked == ["add", "add", "add"]


def test_everything_is_all_kernels_and_what_they_share():
    """What is compiled on request alone stands among the kernels, each name once."""
    names = compiled.everything()
    assert set(names) == {*kernels.load(), compiled.RARE, compiled.TOOLS}
    assert len(names) == len(set(names))
    assert not {compiled.RARE, compiled.TOOLS} & {names[0], names[-1]}
