"""Programs on host and device: the same numbers and the same errors, whatever is switched on."""

from __future__ import annotations

import ast
import functools
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from davinci_sim.errors import DavinciError
from framework import Parameter, Tensor, grad, jit, ops, value_and_grad
from framework.graph_engine import Options, Session
from framework.graph_engine.options import SWITCHES
from framework.host import compile_host
from framework.ir import Func
from framework.passes import FLAT, run
from framework.tree import flatten
from tests.framework.frontend.programs import made

NOTHING = dict.fromkeys(SWITCHES, False)
SCHEDULES = {
    "all": Options(),
    "nothing": Options(**NOTHING),
    **{f"without {name}": Options(**{name: False}) for name in SWITCHES},
    **{f"only {name}": Options(**{**NOTHING, name: True}) for name in SWITCHES},
}
TOLERANCES = {"float64": 1e-11, "float32": 1e-4, "float16": 2e-2}
"""By the dtype of a result, or of the roughest argument; integers and truths are equal."""
SHAPE = (3, 8)


class Compiled(NamedTuple):
    """A function compiled for both: the Func of the device, what runs on the host, the first variables."""

    func: Func
    host: object
    state: dict[str, np.ndarray]

    @property
    def tolerance(self):
        """Return the tolerance of the roughest argument."""
        return max(TOLERANCES.get(param.tensor.dtype.name, 0.0) for param in self.func.params)

    def arrays(self, args):
        """Return the arrays of some arguments."""
        leaves, _ = flatten((args, {}), numbers=True)
        values = [each.numpy() if isinstance(each, Tensor) else each for each in leaves]
        return [np.asarray(a, p.tensor.dtype.numpy) for a, p in zip(values, self.func.params, strict=False)]


def compiled(function, *args):
    """Compile a function for some arguments; Parameters that it renews are variables of the device."""
    found = jit(function).compiled(*args)
    func = run(found.func, FLAT)
    names = [param.name for param in func.params[len(func.params) - len(found.parameters) :]]
    own = {id(each): name for each, name in zip(found.parameters, names, strict=True)}
    first = len(func.results) - len(found.renewed)
    updates = {first + at: own[id(each)] for at, each in enumerate(found.renewed)}
    state = {own[id(each)]: each.numpy().copy() for each in found.parameters}
    return Compiled(replace(func, updates=updates), compile_host(found.func), state)


def outcome(call):
    """Return the arrays of a call, or its error as text."""
    try:
        return [np.asarray(each) for each in call()]
    except DavinciError as error:
        return f"{type(error).__name__}: {error}"


def equal(found, expected, tolerance=0.0):
    """Demand the same error, or results of the same types and, within rounding, the same numbers."""
    if isinstance(found, str) or isinstance(expected, str):
        assert found == expected
        return
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if a.dtype.name in TOLERANCES:
            bound = max(tolerance, TOLERANCES[a.dtype.name])
            np.testing.assert_allclose(a.astype(np.float64), b, rtol=bound, atol=bound)
        else:
            np.testing.assert_array_equal(a, b)


def compared(function, rows, chip, schedules=("all",)):
    """Run a function on rows of arguments, one after the other, on both: results, errors and variables."""
    program = compiled(function, *rows[0])
    updates = program.func.updates
    for schedule in schedules:
        state = dict(program.state)
        session = Session(program.func, chip, state, SCHEDULES[schedule])
        for row in rows:
            arrays = program.arrays(row)
            given = [*(each.copy() for each in arrays), *state.values()]
            expected = outcome(functools.partial(program.host, given))
            found = outcome(functools.partial(on_device, session, arrays))
            if not isinstance(expected, str):
                state |= {name: expected[at] for at, name in updates.items()}
                expected = [each for at, each in enumerate(expected) if at not in updates]
            equal(found, expected, program.tolerance)
            variables = session.variables()
            for name in updates.values():
                equal([variables[name]], [state[name]], program.tolerance)


def on_device(session, arrays):
    """Return the results of one step."""
    names = [each.name for each in session.func.params if each.name in session.loaded.graph.inputs]
    outputs = session.run(
        {name: array[np.newaxis] for name, array in zip(names, arrays, strict=True)}
    ).outputs
    return [outputs[name][0] for name in session.loaded.graph.outputs]


def total(function):
    """Return a function whose result is the sum of the first result of another."""

    def summed(*args):
        found = function(*args)
        found = found[0] if isinstance(found, tuple) else found
        return ops.reduce_sum(ops.cast(found, "float32")) if found.dtype.name != "float64" else found

    return summed


def with_slopes(function):
    """Return the value of a function of tensors with its slopes by the first argument."""
    return value_and_grad(total(function))


def curved(function):
    """Return the gradient of the sum of the gradient of a function."""
    slope = grad(total(function))
    return grad(total(slope))


def renewing(function, x):
    """Return a step that moves a Parameter down the slope, halves it or leaves it, by the value."""
    weight = Parameter(Tensor(np.full(x.shape, 0.25, x.numpy().dtype)), name="weight")

    def step(x, *args):
        def of_both(x):
            return total(function)(x * 1.0 + weight * 0.1, *args)

        value, (slope, (weight_slope,)) = value_and_grad(of_both, 0, weights=(weight,))(x)
        new, old = weight, weight * 1.0
        if value > 2.0:
            new = weight - 0.1 * weight_slope
        elif value > 1.0:
            for _ in range(2):
                new = new * 0.5
        ops.assign(weight, new)
        return value, slope, weight - old

    return step


class _OfMeans(ast.NodeTransformer):
    """Compares means where a program compares floats, so that it goes over tensors."""

    def visit_Compare(self, node):
        """Wrap the operands that are made of floats."""
        return ast.Compare(self._mean(node.left), node.ops, [self._mean(each) for each in node.comparators])

    def _mean(self, node):
        names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        return ast.Call(ast.Name("mean"), [node], []) if names & {"a", "b", "c", "x", "y"} else node


def over_tensors(source, namespace):
    """Return a program of floats as one of tensors, with operators from some other place."""
    tree = ast.fix_missing_locations(_OfMeans().visit(ast.parse(source)))
    names = {"ops": namespace, "mean": mean, "min": ops.minimum, "max": ops.maximum}
    return made(ast.unparse(tree), names)


def mean(value):
    """Return the mean of a tensor, a number as it is."""
    return ops.reduce_mean(ops.cast(value, "float32")) if getattr(value, "shape", ()) else value


def spread(value, dtype=np.float32, shape=SHAPE):
    """Return a tensor of numbers close to one."""
    size = int(np.prod(shape))
    return Tensor((value + np.linspace(-1e-3, 1e-3, size).reshape(shape)).astype(dtype))


WEIGHT = np.random.Generator(np.random.Philox(3)).standard_normal((32, 32)) * 0.02 + np.eye(32) * 0.9


class Products:
    """Operators of programs over matrices: what was a sine is a product."""

    weight = Tensor(WEIGHT.astype(np.float16))

    @classmethod
    def sin(cls, x):
        """Return x @ weight."""
        return ops.matmul(x, cls.weight)

    @classmethod
    def cos(cls, x):
        """Return relu(x @ weight)."""
        return ops.relu(ops.matmul(x, cls.weight))

    @staticmethod
    def tanh(x):
        """Return relu(x)."""
        return ops.relu(x)
