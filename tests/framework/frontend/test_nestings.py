"""Every nesting of if, while, for, closure and recursion has the value and the slopes of plain Python."""

from __future__ import annotations

import ast
import sys

import numpy as np
import pytest

from framework import Tensor, grad, jit, ops, value_and_grad, vmap
from tests.framework.frontend.nestings import (
    INPUTS,
    LEAVES,
    name,
    nestings,
    paths_of,
    program,
    source,
)
from tests.framework.frontend.plain import PLAIN, curvature, slopes

ALL, SHALLOW = nestings(), nestings((1, 2))


def one_of_each_path(cases):
    """Return a case for each path; the leaves take turns."""
    by_path = {}
    for path, leaf in cases:
        by_path.setdefault(path, []).append(leaf)
    return [(path, leaves[at % len(leaves)]) for at, (path, leaves) in enumerate(by_path.items())]


QUICK = SHALLOW + one_of_each_path(nestings((3,)))
LATER = [each for each in ALL if each not in QUICK]


def each_of(cases):
    """Parametrise a test with nestings."""
    return pytest.mark.parametrize(("path", "leaf"), cases, ids=[name(*each) for each in cases])


def tensors(x, y, n):
    """Return the arguments of a compiled program."""
    return Tensor(x, "float64"), Tensor(y, "float64"), n


def compared(path, leaf):
    """Compare value and slopes with complex steps through plain Python, on all inputs."""
    compiled, plain = value_and_grad(program(path, leaf, ops), (0, 1)), program(path, leaf, PLAIN)
    for x, y, n in INPUTS:
        value, found = compiled(*tensors(x, y, n))
        np.testing.assert_allclose(value.item(), plain(x, y, n), rtol=1e-12, atol=1e-12)
        expected = slopes(plain, (x, y), n)
        np.testing.assert_allclose([each.item() for each in found], expected, rtol=1e-11, atol=1e-11)


@each_of(QUICK)
def test_a_nesting_has_the_value_and_the_slopes_of_plain_python(path, leaf):
    """All up to two deep, and one of each path of three."""
    compared(path, leaf)


@pytest.mark.slow
@each_of(LATER)
def test_every_other_nesting_has_the_value_and_the_slopes_of_plain_python(path, leaf):
    """With the other leaves of the paths of three."""
    compared(path, leaf)


def compared_again(path, leaf):
    """Compare the second derivative with differences of complex steps, on all inputs."""
    compiled, plain = grad(grad(program(path, leaf, ops))), program(path, leaf, PLAIN)
    for x, y, n in INPUTS:
        expected = curvature(plain, (x, y), n)
        np.testing.assert_allclose(compiled(*tensors(x, y, n)).item(), expected, rtol=1e-6, atol=1e-7)


def compared_in_a_batch(path, leaf):
    """Compare values and slopes over a batch of all inputs with those of each of its lanes."""
    compiled, plain = vmap(value_and_grad(program(path, leaf, ops), (0, 1))), program(path, leaf, PLAIN)
    x, y, n = (np.array(column) for column in zip(*INPUTS, strict=True))
    value, found = compiled(Tensor(x), Tensor(y), Tensor(n))
    np.testing.assert_allclose(value.numpy(), [plain(*each) for each in INPUTS], rtol=1e-12, atol=1e-12)
    expected = np.transpose([slopes(plain, (x, y), n) for x, y, n in INPUTS])
    np.testing.assert_allclose([each.numpy() for each in found], expected, rtol=1e-11, atol=1e-11)


@each_of(one_of_each_path(SHALLOW))
def test_a_nesting_has_the_curvature_of_plain_python(path, leaf):
    """The gradient of the gradient is that of the slopes."""
    compared_again(path, leaf)


@each_of(one_of_each_path(SHALLOW))
def test_the_lanes_of_a_batch_go_their_own_ways_through_a_nesting(path, leaf):
    """Each takes its branches, makes its turns and recurs as deep as it must."""
    compared_in_a_batch(path, leaf)


@pytest.mark.slow
@each_of(nestings((3,)))
def test_nestings_of_three_have_curvature_and_go_over_batches(path, leaf):
    """The same for all of them."""
    compared_again(path, leaf)
    compared_in_a_batch(path, leaf)


@each_of(one_of_each_path(SHALLOW))
def test_compilation_and_differentiation_change_places_in_a_nesting(path, leaf):
    """`jit(grad(jit(f)))` is `grad(f)`."""
    function = program(path, leaf, ops)
    inside_out, outside_in = jit(grad(jit(function))), grad(function)
    for each in INPUTS[:3]:
        assert inside_out(*tensors(*each)).item() == outside_in(*tensors(*each)).item()


def test_the_nestings_are_all_that_python_allows():
    """Five constructs up to three deep with four leaves: what Python's own compiler takes, and no more."""
    paths = {path for path, _ in ALL}
    assert (len(paths), len(ALL), len(set(ALL))) == (5 + 25 + 125, 462, 462)
    assert {path for path, _ in QUICK} == paths
    assert (len(QUICK), len(LATER)) == (213, 249)
    allowed = {(path, leaf) for path in paths for leaf in LEAVES if compiles(source(path, leaf))}
    assert allowed == set(ALL)


def test_the_nestings_nest_what_they_are_called_after():
    """In the syntax tree each construct of a path stands inside of the one before it."""
    for path, leaf in ALL:
        assert path in list(paths_of(ast.parse(source(path, leaf)), ()))


def test_the_inputs_run_every_statement_of_every_nesting():
    """Branches go both ways, loops make no turn and several, and each leaf is reached and is not."""
    for path, leaf in ALL:
        tree = ast.parse(source(path, leaf))
        written = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)} - {1}
        function = program(path, leaf, PLAIN)
        runs = [lines_run(function, each) for each in INPUTS]
        assert set().union(*runs) == written, name(path, leaf)
        always = {*path, leaf} == {"closure", "assign"}
        assert (set.intersection(*runs) == written) == always, name(path, leaf)


def test_complex_steps_find_the_slopes_of_functions_that_are_known():
    """The oracle: x y + sin(x) / y ** 2 at (2, 3), on the side where x < y."""

    def function(x, y):
        return x * y + PLAIN.sin(x) / y**2 if x < y else abs(x - y)

    expected = [3.0 + np.cos(2.0) / 9.0, 2.0 - 2 * np.sin(2.0) / 27.0]
    np.testing.assert_allclose(slopes(function, (2.0, 3.0)), expected, rtol=1e-15)
    assert slopes(function, (3.0, 2.0)) == [1.0, -1.0]
    assert curvature(function, (2.0, 3.0)) == pytest.approx(-np.sin(2.0) / 9.0, rel=1e-9)


def lines_run(function, args):
    """Return the lines of the function's source that run on some arguments."""
    found = set()

    def tracer(frame, event, _):
        if frame.f_code.co_filename != function.__code__.co_filename:
            return None
        if event == "line":
            found.add(frame.f_lineno)
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        function(*args)
    finally:
        sys.settrace(before)
    return found


def compiles(text):
    """Tell whether Python takes a source."""
    try:
        compile(text, "<nesting>", "exec")
    except SyntaxError:
        return False
    return True
