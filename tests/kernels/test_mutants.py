"""Bugs seeded into the shipped kernels are caught: a sample here, over a thousand in the slow run."""

from __future__ import annotations

import pytest

from davinci_sim.core.checks import CHECKERS
from davinci_sim.platforms import platform
from experiments.mutation.seeds import CLASSES, SYNCHRONISATION
from experiments.mutation.trial import Bench, mutants, verdicts
from kernels import find

P = platform("ascend910a")
SAMPLE = {
    "matmul": {"m": 64, "k": 300, "n": 64},
    "add": {"n": 300_000},
    "reduce_sum": {"m": 100, "n": 200, "axis": 1},
}


@pytest.fixture(scope="module", params=SAMPLE)
def sample(request):
    """Return what became of three mutants of each class of one launch."""
    kernel = find(request.param)
    shape = kernel.shape_type(**SAMPLE[request.param])
    bench = Bench(kernel, shape, kernel.tiling_type.default(shape, P), P)
    return [bench.verdict(kind, what, task, block) for kind, what, task, block in mutants(bench, 7, 3)]


def test_every_class_of_bugs_is_seeded(sample):
    assert {verdict.kind for verdict in sample} == set(CLASSES)


def test_every_wrong_hand_off_is_found_by_a_checker(sample):
    """None is left to a difference in the output, which a lucky schedule hides."""
    wrong = [v for v in sample if v.kind in SYNCHRONISATION and not v.is_equivalent]
    assert [v for v in wrong if not set(v.caught_by) & set(CHECKERS)] == []


def test_every_misaligned_operand_and_every_overlap_is_found(sample):
    found = [v for v in sample if v.kind in {"misaligned", "overlapped buffers"}]
    assert [v for v in found if "memcheck" not in v.caught_by] == []


def test_mutants_are_the_same_every_time():
    """They are drawn by a counter-based generator from the seed and the names."""
    kernel = find("add")
    shape = kernel.shape_type(n=9000)
    bench = Bench(kernel, shape, kernel.tiling_type.default(shape, P), P)
    first, second = ([(kind, what) for kind, what, *_ in mutants(bench, 3, 2)] for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_of_a_thousand_bugs_98_in_100_are_caught_and_all_of_the_hand_offs():
    """Of one launch of every kernel: every synchronisation class whole, the rest with few survivors."""
    found = list(verdicts(P, seed=0, per_class=1, per_kernel=1))
    real = [verdict for verdict in found if not verdict.is_equivalent]
    assert len(real) >= 1000
    assert [v for v in real if v.kind in SYNCHRONISATION and not v.is_caught] == []
    assert sum(v.is_caught for v in real) >= 0.98 * len(real)
