"""The search for tilings: bounds that hold, a result that is never worse and always the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadTiling
from davinci_sim.platforms import platform
from kernels.run import place, random_inputs, references, run
from kernels.samples import SMALL, shapes
from kernels.tune.bound import core_bound, cube_bound
from kernels.tune.journal import Journal
from kernels.tune.search import candidates, tune

P = platform("ascend910a")
PROBLEMS = (
    ("add", {"n": 20_000}),
    ("relu", {"n": 40_000}),
    ("matmul", {"m": 200, "k": 100, "n": 150}),
    ("softmax_cross_entropy", {"m": 100, "n": 300}),
    ("max_pool", {"n": 2, "c": 40, "h": 30, "w": 30, "kh": 2, "kw": 2, "stride": 2}),
)


def problem(name: str, axes: dict[str, int]):
    """Return a kernel and a shape of it."""
    kernel = kernels.find(name)
    return kernel, kernel.shape_type.of(name, axes)


def cycles(kernel, shape, chip, tiling) -> int:
    """Return what a launch takes on an idle chip."""
    return Chip(chip).trace(place(kernel, shape, None, Chip(chip), tiling).task).cycles


def every_time(kernel, shape) -> dict[int, int]:
    """Return the cycles of all candidates that fit, by their numbers."""
    found = {}
    for number, tiling in enumerate(candidates(kernel, shape, P)):
        try:
            found[number] = cycles(kernel, shape, P, tiling)
        except BadTiling:
            continue
    return found


@pytest.mark.parametrize(("name", "axes"), PROBLEMS)
def test_what_is_found_is_the_first_of_the_best_of_all_candidates(name, axes):
    """Bounds discard most of them and change nothing: simulating every one gives the same."""
    kernel, shape = problem(name, axes)
    times = every_time(kernel, shape)
    best = min(times, key=lambda number: (times[number], number))
    found = tune(kernel, shape, P)
    assert (found.tiling, found.cycles) == (candidates(kernel, shape, P)[best], times[best])
    assert (found.default, found.default_cycles) == (kernel.untuned(shape, P), times[0])
    assert found.cycles <= found.default_cycles


@settings(max_examples=15)
@given(
    name=st.sampled_from(["add", "exp", "matmul", "softmax_cross_entropy", "max_pool", "reduce_sum"]),
    chip=st.sampled_from(["ascend910a", "ascend310p3"]), pick=st.integers(0, 1000),
)  # fmt: skip
def test_no_candidate_is_faster_than_its_bounds(name, chip, pick):
    """What discards a candidate is below its time: on another chip, too, and for every kind of kernel."""
    kernel, where = kernels.find(name), platform(chip)
    shape = next(shapes(kernel, SMALL))
    tried = candidates(kernel, shape, where)
    tiling = tried[pick % len(tried)]
    try:
        least = core_bound(kernel, shape, where, tiling)
    except BadTiling:
        return
    assert 0 < least <= cycles(kernel, shape, where, tiling)
    assert cube_bound(kernel, shape, where, tiling) <= cycles(kernel, shape, where, tiling)


@settings(max_examples=20)
@given(name=st.sampled_from(["add", "exp", "matmul"]), n=st.integers(1, 20_000), pick=st.integers(0, 1000))
def test_every_candidate_computes_what_the_reference_does(name, n, pick):
    axes = {"m": 1 + n % 70, "k": 1 + n % 90, "n": 1 + n % 50} if name == "matmul" else {"n": n}
    kernel, shape = problem(name, axes)
    tried = candidates(kernel, shape, P)
    inputs = random_inputs(kernel, shape, 1)
    try:
        outputs, _ = run(kernel, shape, inputs, Chip(), tried[pick % len(tried)])
    except BadTiling:
        return
    expected = references(kernel, shape, inputs)
    assert all(np.allclose(outputs[key], expected[key], rtol=4e-3, atol=4e-3) for key in expected)


@pytest.mark.parametrize("jobs", [2, 3])
def test_the_result_does_not_depend_on_how_many_search(jobs):
    kernel, shape = problem(*PROBLEMS[2])
    assert tune(kernel, shape, P, jobs=jobs) == tune(kernel, shape, P)


def test_progress_is_told_for_every_candidate_once():
    """The fewest cycles never grow; at the end all candidates are settled."""
    kernel, shape = problem(*PROBLEMS[2])
    told = []
    found = tune(kernel, shape, P, told=lambda *numbers: told.append(numbers))
    assert [settled for settled, _, _ in told] == list(range(1, found.candidates + 1))
    assert [least for _, _, least in told] == sorted((least for _, _, least in told), reverse=True)
    assert told[-1][2] == found.cycles


def test_a_search_that_was_interrupted_goes_on_where_it_was(tmp_path):
    """What the first one has simulated the second one reads."""
    kernel, shape = problem(*PROBLEMS[1])
    path = tmp_path / "journal.jsonl"

    def interrupt(settled: int, _: int, __: int) -> None:
        if settled == 70:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(kernel, shape, P, journal=Journal(path), told=interrupt)
    path.write_text(path.read_text() + '{"digest": "cut')  # the last line of a process that was killed
    journal = Journal(path)
    before, noted = set(journal.known), []
    note, journal.note = journal.note, lambda key, count: (noted.append(key), note(key, count))
    assert tune(kernel, shape, P, journal=journal) == tune(kernel, shape, P)
    assert before
    assert before.isdisjoint(noted)
    assert set(Journal(path).known) == before | set(noted)
    journal.forget()
    assert not path.exists()


def test_where_no_tiling_fits_the_search_says_so():
    kernel, shape = problem("matmul", {"m": 64, "k": 64, "n": 64})
    from davinci_sim.platforms import assumed

    tiny = P.with_figures("tiny", l1_bytes=assumed(512, "B", "a test"))
    with pytest.raises(BadTiling, match="no smaller tiling is offered for tiny"):
        tune(kernel, shape, tiny)
