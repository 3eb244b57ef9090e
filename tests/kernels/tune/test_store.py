"""Kept tilings: read back, used, passed over when stale, refused when damaged."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest

import kernels
from davinci_sim.errors import CannotWrite, DavinciError
from davinci_sim.platforms import assumed, platform
from framework import Tensor, ops
from framework.frontend.trace import trace
from framework.graph_engine.service.compile import compile_graph
from framework.graph_engine.service.optimize import optimize
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import split
from kernels.tune import Tuned, keep, kept
from kernels.tune.search import candidates
from kernels.tune.store import shipped_only
from kernels.tune.tuned import digest_of

P = platform("ascend910a")
MATMUL = kernels.find("matmul")
SHAPE = MATMUL.shape_type.of("matmul", {"m": 1024, "k": 64, "n": 1024})
OTHER = MATMUL.shape_type.of("matmul", {"m": 1024, "k": 64, "n": 1008})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Keep tilings in a folder of this test."""
    monkeypatch.setenv("DAVINCI_TUNINGS", str(tmp_path / "tunings"))
    return tmp_path / "tunings"


@pytest.fixture
def found():
    """Return what a search would, with a tiling that is not the default one."""
    return result(SHAPE)


def result(shape) -> Tuned:
    """Return the second candidate as if it were the best."""
    default, other = candidates(MATMUL, shape, P)[:2]
    digest = digest_of(MATMUL, shape, P, default, other)
    return Tuned("matmul", str(shape), "ascend910a", other, 100, default, 120, 2, digest)


def test_a_kept_tiling_is_the_one_that_is_used(folder, found):
    assert MATMUL.tiling(SHAPE, P) == found.default
    assert keep(found) == folder / "ascend910a.toml"
    assert kept(MATMUL, SHAPE, P) == found
    assert MATMUL.tiling(SHAPE, P) == found.tiling
    assert MATMUL.untuned(SHAPE, P) == found.default


def test_the_file_reads_like_a_table(folder, found):
    """Keys and values as TOML's own reader sees them."""
    (entry,) = tomllib.loads(keep(found).read_text())["tuned"]
    assert len(entry.pop("sum")) == 16
    assert entry == {
        "kernel": "matmul", "shape": str(SHAPE), "tiling": str(found.tiling), "cycles": found.cycles,
        "default": str(found.default), "default_cycles": found.default_cycles,
        "candidates": found.candidates, "digest": found.digest,
    }  # fmt: skip


def test_entries_stand_beside_each_other_and_the_last_one_of_a_shape_counts(folder, found):
    keep(found)
    keep(result(OTHER))
    path = keep(found)
    entries = tomllib.loads(path.read_text())["tuned"]
    assert [entry["shape"] for entry in entries] == sorted([str(SHAPE), str(OTHER)])


def test_other_shapes_kernels_and_chips_have_their_own_tilings(folder, found):
    keep(found)
    assert kept(MATMUL, OTHER, P) is None
    assert kept(kernels.find("matmul_bias"), SHAPE, P) is None
    assert kept(MATMUL, SHAPE, platform("ascend310p3")) is None


def test_an_entry_of_a_chip_that_has_changed_is_passed_over(folder, found):
    """The name is the same, a figure is not."""
    keep(found)
    changed = P.with_figures("ascend910a", mmad_head_cycles=assumed(99, "cycles", "a test"))
    assert kept(MATMUL, SHAPE, changed) is None
    assert MATMUL.tiling(SHAPE, changed) == MATMUL.untuned(SHAPE, changed)


def test_an_entry_of_a_kernel_that_has_changed_is_passed_over(folder, found):
    """Another kernel of the same name, shape and tilings, which does other things."""
    keep(found)
    impostor = replace(kernels.find("matmul_bias"), name="matmul")
    assert kept(impostor, SHAPE, P) is None


@pytest.mark.parametrize("tiling", ["m0=16", "q=3", "m0=sixteen", "m0=0,k0=0,n0=0,l1_k=0,slots=9"])
def test_an_entry_whose_tiling_is_no_longer_legal_is_passed_over(folder, found, tiling):
    keep(replace(found, tiling=tiling))
    assert kept(MATMUL, SHAPE, P) is None


@pytest.mark.parametrize(("key", "value"), [("tiling", "m0=16"), ("cycles", 7), ("digest", "0" * 16)])
def test_an_entry_that_was_changed_is_refused(folder, found, key, value):
    """Passing it over would leave a user with another tiling than the file says."""
    path = keep(found)
    before, after = (f"{key} = {json.dumps(each)}" for each in (_printed(found, key), value))
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(DavinciError) as refused:
        MATMUL.tiling(SHAPE, P)
    assert str(refused.value) == (
        f"{path}: the tiling of matmul {SHAPE} was changed after it was written\n"
        "  rule: what a search has found is used as it was found\n"
        "  next: delete this entry, and tune again; to try a tiling, davinci kernel run --tiling"
    )


def _printed(found, key):
    value = getattr(found, key)
    return value if isinstance(value, int) else str(value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("cycles = 100", "cycles = true"), "cycles is True, it must be a whole number"),
        (('kernel = "matmul"', "kernel = 5"), "kernel is 5, it must be a text"),
    ],
)
def test_a_value_of_another_kind_is_refused(folder, found, change, problem):
    path = keep(found)
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(DavinciError, match=f"holds no tilings: TypeError: {problem}"):
        MATMUL.tiling(SHAPE, P)


def test_a_damaged_file_is_refused_with_its_name(folder, found):
    path = keep(found)
    path.write_text('[[tuned]]\nkernel = "matmul"\n')
    with pytest.raises(DavinciError) as refused:
        MATMUL.tiling(SHAPE, P)
    assert str(refused.value) == (
        f"{path} holds no tilings: KeyError: 'shape'\n  rule: it is written by `davinci kernel tune`\n"
        "  next: mend it, or delete it and tune again"
    )


def test_a_folder_that_cannot_be_written_is_told(tmp_path, found):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match=r"cannot write .*file/ascend910a\.toml"):
        keep(found, tmp_path / "file")


def test_without_a_folder_nothing_is_kept(monkeypatch, found):
    monkeypatch.setenv("DAVINCI_TUNINGS", "")
    with pytest.raises(DavinciError, match="DAVINCI_TUNINGS is empty"):
        keep(found)


def test_a_network_is_compiled_with_kept_tilings(folder, found):
    """The graph engine asks where `davinci kernel run` asks."""

    def product(a, b):
        return ops.matmul(a, b)

    arrays = [Tensor(np.ones(shape, np.float16)) for shape in ((1024, 64), (64, 1024))]
    func = trace(product, arrays, {}).func

    def used():
        tasks = compile_graph(optimize(split(prepare(func), P), P), P).tasks
        return [task.tiling for task in tasks if task.kernel == "matmul"]

    assert used() == [found.default]
    keep(found)
    assert used() == [found.tiling]


def test_experiments_do_not_see_the_users_tilings(folder, found):
    """They say the same on every machine."""
    keep(found)
    with shipped_only():
        assert MATMUL.tiling(SHAPE, P) == found.default
    assert MATMUL.tiling(SHAPE, P) == found.tiling
