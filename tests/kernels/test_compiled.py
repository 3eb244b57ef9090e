"""Whether machine code is ready is asked of the functions once, and then of the times of their files."""

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
