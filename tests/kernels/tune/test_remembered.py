"""Default tilings that one process has found are read by the next, and are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from davinci_sim.chip.kept import Store
from davinci_sim.platforms import Platform, assumed, platform
from kernels import matmul
from kernels.lang import emission
from kernels.lang.shapes import Shape
from kernels.tune import remembered

P = platform("ascend910a")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of its own, and nothing in the memory of this process."""
    made = Store(tmp_path)
    monkeypatch.setattr(remembered, "STORE", made)
    emission.fitting.cache_clear()
    yield made
    emission.fitting.cache_clear()


def shape_of(m: int) -> Shape:
    return matmul.shape_type.of("matmul", {"m": m, "k": 64, "n": 64}, "fp16")


def files(store: Store) -> list[Path]:
    return sorted(path for path in store.folder.rglob("*") if path.is_file())


def test_a_second_process_reads_the_tiling_that_the_first_has_found(store: Store, monkeypatch):
    shape = shape_of(96)
    found = matmul.untuned(shape, P)
    assert len(files(store)) == 1
    emission.fitting.cache_clear()
    monkeypatch.setattr(emission, "_first_that_fits", None)
    assert matmul.untuned(shape, P) == found


def test_a_damaged_entry_is_found_anew(store: Store):
    shape = shape_of(96)
    found = matmul.untuned(shape, P)
    (path,) = files(store)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    emission.fitting.cache_clear()
    assert matmul.untuned(shape, P) == found


def test_other_shapes_and_other_chips_are_other_questions(store: Store):
    def smaller(given: Platform) -> Platform:
        return given.with_figures("smaller", ub_bytes=assumed(int(given.ub_bytes) // 2, "B", "a test"))

    for m, chip in ((96, P), (112, P), (96, smaller(P))):
        matmul.untuned(shape_of(m), chip)
    assert len(files(store)) == 3


def test_a_change_of_the_source_is_another_question(store: Store, monkeypatch):
    matmul.untuned(shape_of(96), P)
    emission.fitting.cache_clear()
    monkeypatch.setattr(remembered, "kit", lambda: "changed")
    matmul.untuned(shape_of(96), P)
    assert len(files(store)) == 2
