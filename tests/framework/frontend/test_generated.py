"""Random programs compute what Python computes, and have the gradients that complex steps have."""

from __future__ import annotations

import ast
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st

from framework import Tensor, grad, jit, ops, vmap
from tests.framework.frontend.generated import sources
from tests.framework.frontend.nestings import CONSTRUCTS, FUNCTIONS, LEAVES, LOOPS, paths_of
from tests.framework.frontend.plain import PLAIN, Stepped, bare, slopes
from tests.framework.frontend.programs import made

PAIRS = list(itertools.product(CONSTRUCTS, CONSTRUCTS))
FEW = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
ARGUMENTS = (st.sampled_from([0.3, -0.45, 1.2]), st.sampled_from([0.7, -0.15]), st.integers(0, 4))


def compared(source, a, b, n):
    """Compare a compiled program with the plain one."""
    found = jit(made(source, {"ops": ops}))(Tensor(a, "float64"), Tensor(b, "float64"), n)
    expected = made(source, {"ops": PLAIN})(a, b, n)
    np.testing.assert_allclose([float(each) for each in found], expected, rtol=1e-9)


def objective_of(program):
    """Return a function of one result, in which all floats of a program count differently."""

    def objective(a, b, n):
        first, second, third, _ = program(a, b, n)
        return first + second * 2.0 + third * 3.0

    return objective


def differentiated(source, a, b, n):
    """Compare the gradients of a program with complex steps, where these take the way of the floats."""
    compiled, plain = (objective_of(made(source, {"ops": each})) for each in (ops, PLAIN))
    found = grad(compiled, (0, 1))(Tensor(a, "float64"), Tensor(b, "float64"), n)
    value, stepped = plain(a, b, n), plain(Stepped(a), Stepped(b), n)
    assume(np.isclose(bare(stepped).real, value, rtol=1e-9, atol=0.0))
    np.testing.assert_allclose(
        [each.item() for each in found], slopes(plain, (a, b), n), rtol=1e-8, atol=1e-10
    )


def in_a_batch(source, a, b, n):
    """Compare gradients over a batch with complex steps through each of its lanes."""
    compiled, plain = (objective_of(made(source, {"ops": each})) for each in (ops, PLAIN))
    lanes = [(a, b), (b, a), (-a, 0.31), (1.13, -b)]
    values = [plain(*each, n) for each in lanes]
    stepped = [bare(plain(*map(Stepped, each), n)).real for each in lanes]
    assume(np.allclose(stepped, values, rtol=1e-9, atol=0.0))
    columns = (Tensor(np.array(each)) for each in zip(*lanes, strict=True))
    found = vmap(grad(compiled, (0, 1)), (0, 0, None))(*columns, n)
    expected = np.transpose([slopes(plain, each, n) for each in lanes])
    np.testing.assert_allclose([each.numpy() for each in found], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("outside", CONSTRUCTS)
@FEW
@given(st.data())
def test_a_random_program_computes_what_python_computes(outside, data):
    """Conditions, loops, functions and recursion in any nesting."""
    compared(data.draw(sources((outside,))), *map(data.draw, ARGUMENTS))


@pytest.mark.parametrize("outside", CONSTRUCTS)
@FEW
@given(st.data())
def test_the_gradient_of_a_random_program_is_that_of_complex_steps(outside, data):
    """Through the branches that are taken and the turns that are made."""
    differentiated(data.draw(sources((outside,), 2)), *map(data.draw, ARGUMENTS))


@pytest.mark.slow
@pytest.mark.parametrize("outside", PAIRS, ids="-".join)
@FEW
@given(st.data())
def test_many_random_programs_compute_what_python_computes(outside, data):
    """The same, longer: some around each pair of constructs."""
    compared(data.draw(sources(outside)), *map(data.draw, ARGUMENTS))


@pytest.mark.slow
@pytest.mark.parametrize("outside", PAIRS, ids="-".join)
@FEW
@given(st.data())
def test_the_gradients_of_many_random_programs_are_those_of_complex_steps(outside, data):
    """The same, longer: some around each pair of constructs."""
    differentiated(data.draw(sources(outside)), *map(data.draw, ARGUMENTS))


@pytest.mark.slow
@pytest.mark.parametrize("outside", PAIRS, ids="-".join)
@FEW
@given(st.data())
def test_the_lanes_of_a_batch_go_their_own_ways_through_random_programs(outside, data):
    """Some around each pair of constructs."""
    in_a_batch(data.draw(sources(outside)), *map(data.draw, ARGUMENTS))


def drawn(outside):
    """Return programs that are drawn as those of the tests above."""
    found = []

    @seed(1)
    @settings(FEW, database=None)
    @given(sources(outside))
    def collect(source):
        found.append(source)

    collect()
    return found


def programs_with(found, length):
    """Count the programs in which constructs stand in each other, directly, by the chain that they make."""
    chains = [{path[-length:] for path in paths_of(ast.parse(each)) if len(path) >= length} for each in found]
    return Counter(itertools.chain.from_iterable(chains))


def test_random_programs_have_every_construct_in_every_other():
    """Measured: of 150 programs each construct is in 85 and more, break in 48, continue in 50.

    Each pair is in 8 and more, and 111 of the 125 nestings of three occur. The bounds leave room for other
    versions of Hypothesis, which draw others.
    """
    found = [each for outside in PAIRS for each in drawn(outside)]
    single, pairs, triples = (programs_with(found, length) for length in (1, 2, 3))
    assert min(single[(each,)] for each in CONSTRUCTS) >= 75
    assert min(single[("break",)], single[("continue",)]) >= 30
    assert min(pairs[each] for each in PAIRS) >= 6
    assert len(triples.keys() & set(itertools.product(CONSTRUCTS, repeat=3))) >= 90
    ways_out = {
        *itertools.product(LOOPS, ["if"], LEAVES[1:]),
        *itertools.product(FUNCTIONS, ["if"], ["return"]),
    }
    assert triples.keys() >= ways_out
