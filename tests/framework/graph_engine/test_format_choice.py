"""Formats are chosen for a whole graph at once, and no choice is cheaper."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from framework.graph_engine.service.format_choice import UNIT_BYTES, Demand, Problem, choose

GROUPS = tuple("abcdef")
MATRIX = ("ND", "NZ")
IMAGE = ("FRACTAL_Z", "NC1HWC0", "ND")


@st.composite
def problems(draw: st.DrawFn, formats: tuple[str, ...]) -> Problem:
    """Return some values between a few groups, fixed formats among those that make and read them."""
    parties = st.sampled_from(GROUPS + formats)
    demands = []
    for _ in range(draw(st.integers(1, 9))):
        size = draw(st.integers(1, 50)) * UNIT_BYTES
        readers = tuple(draw(st.sets(parties, min_size=1, max_size=4)))
        demands.append(Demand(draw(parties), readers, lambda source, target, size=size: size))
    prices = draw(st.dictionaries(st.sampled_from(GROUPS), st.integers(1, 90).map(lambda n: n * UNIT_BYTES)))
    return Problem(dict.fromkeys(GROUPS, formats), demands, prices)


def cheapest(problem: Problem) -> int:
    """Return the least total of all choices."""
    return min(
        problem.total(dict(zip(problem.candidates, formats, strict=True)))
        for formats in product(*problem.candidates.values())
    )


@given(problems(MATRIX))
def test_between_two_formats_the_choice_is_the_cheapest_of_all(problem: Problem):
    assert problem.total(choose(problem)) == cheapest(problem)


@given(problems(IMAGE))
def test_among_three_formats_no_move_of_a_group_is_cheaper(problem: Problem):
    """A move to one format is offered to all groups at once, so that single groups have had theirs, too."""
    choice = choose(problem)
    total = problem.total(choice)
    for group, formats in problem.candidates.items():
        assert all(problem.total({**choice, group: other}) >= total for other in formats)


def test_a_weight_and_its_cast_move_together():
    """Changing one alone would only move the conversion, so that changes of one group never get there."""
    size = 8 * UNIT_BYTES
    demands = [Demand("weight", ("cast",), lambda *_: size), Demand("cast", ("NZ",), lambda *_: size)]
    demands.append(Demand("cast", ("NZ",), lambda *_: size))
    assert choose(Problem({"weight": MATRIX, "cast": MATRIX}, demands)) == {"weight": "NZ", "cast": "NZ"}


def test_a_group_that_nothing_asks_stays_plain():
    assert choose(Problem({"a": MATRIX}, [])) == {"a": "ND"}
