"""Searches for the least estimate leave out what a bound excludes, and find what a search of all finds."""

from __future__ import annotations

from dataclasses import replace
from heapq import nsmallest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.platforms import platform
from kernels.tiling import conv2d, conv2d_filter
from kernels.tiling.conv2d_filter import FilterShape, FilterTiling
from kernels.tiling.conv2d_shape import ConvShape, Problem, StatisticsShape
from kernels.tiling.least import ROUNDING, labelled, least

P = platform("ascend910a")
FAMILIES = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), max_size=6)
LENGTHS = {"n": (1, 3, 8), "c": (16, 48, 256), "h": (7, 14), "w": (7, 12), "o": (16, 80), "stride": (1, 2)}


@st.composite
def convolutions(draw):
    """Draw the axes of a small convolution."""
    axes = {name: draw(st.sampled_from(lengths)) for name, lengths in LENGTHS.items()}
    edge = draw(st.sampled_from((1, 3)))
    return {**axes, "kh": edge, "kw": edge, "pad": edge // 2}


def numbered(values):
    """Return candidates of these estimates as families, each with the least one as its bound."""
    flat = [(number, place) for number, inner in enumerate(values) for place in range(len(inner))]
    return flat, [
        (min(inner), lambda n=number, inner=inner: [(n, place) for place in range(len(inner))])
        for number, inner in enumerate(values)
    ]


@given(FAMILIES, st.integers(1, 4))
def test_least_finds_what_a_search_of_all_finds(values, count):
    """Equal estimates included: those that come first are taken."""
    flat, families = numbered(values)
    estimate = lambda at: float(values[at[0]][at[1]])
    assert least(families, estimate, count) == nsmallest(count, flat, key=estimate)


def test_a_family_above_what_was_found_is_not_looked_into():
    """Nor are its candidates made."""
    families = [(20.0, lambda: pytest.fail("20 is more than 10")), (5.0, lambda: [10, 30])]
    assert least(families, float, 1) == [10]


def test_labels_say_what_candidates_belong_to():
    bound, members = labelled(7, (3.0, lambda: ["a", "b"]))
    assert (bound, list(members())) == (3.0, [(7, "a"), (7, "b")])


SIDES = {
    "forward": (conv2d, lambda axes: Problem.forward(ConvShape(**axes))),
    "statistics": (conv2d, lambda axes: Problem.forward(ConvShape(**axes), 1)),
    "input": (conv2d, lambda axes: Problem.backward_input(ConvShape(**axes))),
    "joined": (
        conv2d,
        lambda axes: replace(Problem.backward_input(ConvShape(**axes)), adds=True, keeps=True),
    ),
    "filter": (conv2d_filter, lambda axes: FilterShape(**axes)),
}


@pytest.mark.parametrize("side", SIDES)
@settings(max_examples=5)
@given(axes=convolutions())
def test_tilings_of_convolutions_are_those_of_a_search_of_all(side, axes):
    """No estimate lies below the bound of its family."""
    where, made = SIDES[side]
    problem = made(axes)
    estimates = {}
    for bound, members in where.families(problem, P):
        own = {tiling: where.estimate(problem, tiling, P) for tiling in members()}
        assert all(bound * ROUNDING <= cycles for cycles in own.values())
        estimates |= own
    best = nsmallest(3, estimates, key=estimates.__getitem__)
    fields = tuple(tuple(getattr(each, name) for name in each.names()) for each in best)
    assert where.ranked(problem, P, 3) == fields


@settings(max_examples=5)
@given(axes=convolutions())
def test_splits_are_those_of_a_search_for_each(axes):
    """The sums by channel have no costs of their own."""

    def cycles(splits):
        problem = Problem.forward(StatisticsShape(**axes), splits)
        return conv2d.estimate(problem, conv2d.ConvTiling(*conv2d.best(problem, P)), P)

    options = [splits for splits in conv2d.CORE_SHARES if splits <= axes["n"]]
    assert conv2d.best_statistics_splits(StatisticsShape(**axes), P) == min(options, key=cycles)


@settings(max_examples=5)
@given(axes=convolutions())
def test_parts_of_a_filter_gradient_are_those_of_a_search_for_each(axes):
    """One more part costs a launch, and memory traffic."""
    side = conv2d_filter.sides(FilterShape(**axes))
    nbytes = side.parts * side.depth * side.outputs * 1024
    launch = int(P.task_start_cycles) + int(P.ai_cores) * int(P.block_start_cycles)

    def cycles(splits):
        shape = FilterShape(**axes, splits=splits)
        own = conv2d_filter.estimate(shape, FilterTiling.default(shape, P), P)
        adding = (splits + 1) * nbytes / int(P.hbm_bytes_per_cycle) + launch
        return own if splits == 1 else own + adding

    options = [splits for splits in conv2d.CORE_SHARES if splits <= axes["n"]]
    assert conv2d_filter.best_splits(FilterShape(**axes), P) == min(options, key=cycles)
