"""Compositions: formulas become the operators that they are, with the same numbers in less time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from davinci_sim.chip import Chip
from davinci_sim.errors import UnknownName
from framework import Tensor, nn, ops
from framework.autodiff import differentiate
from framework.dtypes import dtype
from framework.frontend.trace import trace
from framework.graph_engine import Session
from framework.ir.evaluate import evaluate
from framework.ir.types import TensorType
from framework.optim import Optimizer
from framework.passes import FLAT, run
from framework.passes.compositions import ALL, COMPOSITIONS, UPDATES, chosen, compose
from framework.passes.compositions.page import COMMAND, PAGE, page
from framework.train.step import initial_state, training_step

RANDOM = np.random.Generator(np.random.Philox(11))
FLOATS = np.float32


def numbers(*shape: int) -> np.ndarray[Any, Any]:
    """Return random numbers."""
    return RANDOM.standard_normal(shape).astype(FLOATS)


def softmax(x):
    """Return softmax along the last axis."""
    e = ops.exp(x - ops.reduce_max(x, -1, True))
    return e / ops.reduce_sum(e, -1, True)


def softmax_times_one_over(x):
    """Return the same with an axis that is put back, and a reciprocal."""
    e = ops.exp(x - ops.expand_dims(ops.reduce_max(x, 1), 1))
    return e * ops.reciprocal(ops.reduce_sum(e, -1, True))


def log_softmax(x):
    """Return x minus the logarithm of the sum of its powers."""
    shifted = x - ops.reduce_max(x, -1, True)
    return shifted - ops.log(ops.reduce_sum(ops.exp(shifted), -1, True))


def log_softmax_by_logsumexp(x):
    """Return the same with a function of the library."""
    return x - ops.logsumexp(x, -1, True)


def layer_norm(x, gamma, beta):
    """Return rows of mean 0 and variance 1, scaled and shifted."""
    centred = x - ops.reduce_mean(x, -1, True)
    variance = ops.reduce_mean(centred * centred, -1, True)
    return centred * ops.rsqrt(variance + 1e-5) * gamma + beta


def layer_norm_of_sums(x, gamma, beta):
    """Return the same from sums, with a root, and functions of the library."""
    mean = ops.reduce_sum(x, -1, True) / x.shape[-1]
    return beta + gamma * ((x - mean) / ops.sqrt(1e-5 + ops.variance(x, -1, True)))


def layer_norm_alone(x):
    """Return rows of mean 0 and variance 1."""
    centred = x - ops.reduce_mean(x, -1, True)
    return centred / ops.sqrt(ops.reduce_mean(ops.square(centred), -1, True) + 1e-5)


def gelu(x):
    """Return GELU with the error function."""
    return 0.5 * x * (1 + ops.erf(x / math.sqrt(2)))


def gelu_tanh(x):
    """Return GELU with the tangent."""
    return x * (0.5 + ops.tanh(0.7978845608 * x * (1 + 0.044715 * ops.square(x))) / 2)


def sigmoid(x):
    """Return the logistic function."""
    return 1 / (1 + ops.exp(-x))


def swish(x):
    """Return x times its logistic function."""
    return x / (ops.exp(-1.0 * x) + 1)


def cross_entropy(x, labels):
    """Return the cross-entropy of each row."""
    return -ops.log_softmax(x)[ops.arange(x.shape[0]), labels]


def mean_of_cross_entropy(x, labels):
    """Return the same with the sign behind the mean."""
    return -ops.reduce_mean(log_softmax(x)[ops.arange(x.shape[0]), labels])


X = numbers(256, 512)
VECTORS = (numbers(512), numbers(512))
LABELS = RANDOM.integers(0, 512, 256).astype(np.int32)


class Case(NamedTuple):
    """A formula, what it is given, and the operator that it is."""

    function: Callable[..., Any]
    arrays: tuple[np.ndarray[Any, Any], ...]
    op: str


CASES = {
    case.function.__name__: case
    for case in (
        Case(softmax, (X,), "softmax"),
        Case(softmax_times_one_over, (X,), "softmax"),
        Case(log_softmax, (X,), "log_softmax"),
        Case(log_softmax_by_logsumexp, (X,), "log_softmax"),
        Case(layer_norm, (X, *VECTORS), "layer_norm"),
        Case(layer_norm_of_sums, (X, *VECTORS), "layer_norm"),
        Case(layer_norm_alone, (X,), "layer_norm"),
        Case(gelu, (X,), "gelu"),
        Case(gelu_tanh, (X,), "gelu"),
        Case(sigmoid, (X,), "sigmoid"),
        Case(swish, (X,), "sigmoid"),
        Case(cross_entropy, (X, LABELS), "softmax_cross_entropy"),
        Case(mean_of_cross_entropy, (X, LABELS), "softmax_cross_entropy"),
    )
}


def func_of(function, arrays):
    """Return the Func of a function before any pass."""
    return trace(function, [Tensor(each) for each in arrays], {}).func


def slopes_of(case: Case, names: Any):
    """Return the Func of a weighted sum of what a formula makes, and of its gradients."""
    weights = numbers(*case.function(*map(Tensor, case.arrays)).shape)

    def total(*inputs):
        return ops.reduce_sum(case.function(*inputs) * weights)

    func = compose(func_of(total, case.arrays), names)
    floats = [at for at, each in enumerate(case.arrays) if each.dtype == FLOATS]
    return run(differentiate(func, floats, keep_results=True), FLAT)


@pytest.mark.parametrize("name", CASES)
def test_a_formula_becomes_its_operator_and_only_if_that_is_switched_on(name):
    """However it is written; without its name nothing of it changes."""
    case = CASES[name]
    func = func_of(case.function, case.arrays)
    assert case.op in compose(func).ops()
    others = ALL - {case.op}
    assert case.op not in compose(func, others).ops()
    assert compose(func, "none") is func


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_stay_the_same_on_the_host(name):
    """But for rounding: both are computed in NumPy."""
    case, state = CASES[name], RANDOM.bit_generator.state
    found = evaluate(slopes_of(case, "all"), case.arrays)
    RANDOM.bit_generator.state = state
    for ours, theirs in zip(found, evaluate(slopes_of(case, "none"), case.arrays), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_step_on_the_chip_gives_the_same_numbers_in_less_time(name):
    """Of values and gradients together, which the kernels of the operator compute."""
    case, state = CASES[name], RANDOM.bit_generator.state
    with_operator = on_chip(slopes_of(case, "all"), case.arrays)
    RANDOM.bit_generator.state = state
    without = on_chip(slopes_of(case, "none"), case.arrays)
    for ours, theirs in zip(with_operator[1], without[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3)
    assert with_operator[0] < without[0]


def on_chip(func, arrays):
    """Return the microseconds of a step, and what it computes."""
    session = Session(func, Chip("ascend910a"))
    feeds = {p.name: a[np.newaxis] for p, a in zip(func.params, arrays, strict=True)}
    outputs = session.run(feeds).outputs
    return session.step_us(), [outputs[name][0] for name in session.loaded.graph.outputs]


class Elementary(Optimizer):
    """Adam or momentum, written as in a textbook."""

    def __init__(self, params, slots, update):
        """Take the Parameters, the names of the moments, and what a step does with them."""
        self.slots, self.formula = slots, update  # type: ignore[misc]
        super().__init__(params, 0.01)

    def update(self, step):
        """Emit the update of one weight."""
        return self.formula(step.weight, *step.state, step.gradient, step.learning_rate)


def adam(w, m, v, g, rate):
    """Return a step of Adam without correction, and its moments."""
    m_new = 0.9 * m + (1 - 0.9) * g
    v_new = 0.999 * v + (1 - 0.999) * g * g
    return w - rate * m_new / (ops.sqrt(v_new) + 1e-8), m_new, v_new


def adam_by_squares(w, m, v, g, rate):
    """Return the same, written otherwise."""
    m_new = m * 0.9 + g * 0.1
    v_new = v * 0.999 + ops.square(g) * 0.001
    return w - m_new / (1e-8 + ops.sqrt(v_new)) * rate, m_new, v_new


def momentum(w, m, g, rate):
    """Return a step along a sum of gradients."""
    m_new = g + 0.9 * m
    return w - m_new * rate, m_new


OPTIMIZERS = {
    "adam": (("moment1", "moment2"), adam, "apply_adam"),
    "adam_by_squares": (("moment1", "moment2"), adam_by_squares, "apply_adam"),
    "momentum": (("moments",), momentum, "apply_momentum"),
}


@pytest.mark.parametrize("scale", [None, 16.0])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_of_elementary_operators_is_one_kernel(name, scale):
    """Every weight of a training step has one; weights and moments are the same but for rounding."""
    slots, formula, op = OPTIMIZERS[name]
    net = nn.Dense(48, 32)
    optimizer = Elementary(net.trainable_params(), slots, formula)
    types = [TensorType((16, 48), dtype("float32")), TensorType((16,), dtype("int32"))]
    arrays = {"x": numbers(16, 48), "labels": LABELS[:16] % 32, "learning_rate": FLOATS(0.01)}
    state = {**initial_state(net, optimizer), **arrays}
    found = []
    for names in ("all", "none"):
        func = training_step(
            net, nn.SoftmaxCrossEntropyWithLogits(), optimizer, *types, loss_scale=scale, compositions=names
        )
        assert func.ops().count(op) == (len(optimizer.params) if names == "all" else 0)
        found.append(evaluate(func, [state[param.name] for param in func.params]))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not any(each in func.ops() for each in UPDATES)


def test_a_step_of_momentum_needs_a_moment_that_fades():
    """A sum of two gradients is none; nor is a step that reads the moment before."""

    def of_two(w, g, h, rate):
        return w - rate * (g + h)

    arrays = (X, X, X, FLOATS(0.1))
    assert "apply_momentum" not in compose(func_of(of_two, arrays)).ops()
    assert "apply_momentum" in compose(func_of(momentum, arrays)).ops()


def test_what_only_looks_alike_stays():
    """Other constants, other axes, values that others need, and differences where nothing is taken off."""

    def another_constant(x):
        return 0.5 * x * (1 + ops.tanh(0.8 * (x + 0.044715 * x * x * x)))

    def other_axes(x):
        e = ops.exp(x - ops.reduce_max(x, 0, True))
        return e / ops.reduce_sum(e, 1, True)

    def nothing_taken_off(x):
        e = ops.exp(x)
        return e / ops.reduce_sum(e, 1, True)

    def needed_elsewhere(x):
        e = ops.exp(x - ops.reduce_max(x, 1, True))
        total = ops.reduce_sum(e, 1, True)
        return e / total, e, total

    def along_columns(x):
        centred = x - ops.reduce_mean(x, 0, True)
        return centred / ops.sqrt(ops.reduce_mean(centred * centred, 0, True) + 1e-5)

    for function in (another_constant, other_axes, nothing_taken_off, needed_elsewhere, along_columns):
        func = func_of(function, (X,))
        assert compose(func) is func, function.__name__


def test_formulas_in_loops_and_in_functions_are_found():
    """What is called is opened where that is short; in the body of a loop the formula stands once."""

    def layers(x):
        for _ in range(3):
            x = layer_norm_alone(softmax(x) + gelu(x)) + swish(x)
        return x

    found = str(compose(func_of(layers, (X,))))
    names = ("softmax", "gelu", "layer_norm", "sigmoid", "exp", "erf")
    assert [found.count(f" = {op}(") for op in names] == [1, 1, 1, 1, 0, 0]


def test_the_user_names_what_is_composed():
    """Sets are `all` and `none`; another name is refused."""
    assert chosen("all") == ALL == frozenset(COMPOSITIONS)
    assert chosen("none") == frozenset()
    assert chosen(["gelu"]) == {"gelu"}
    with pytest.raises(UnknownName) as of_a_name:
        chosen(["gelu", "selu"])
    assert str(of_a_name.value).startswith("unknown composition 'selu': did you mean gelu? Known: ")
    with pytest.raises(UnknownName):
        chosen("most")


def test_every_composition_tells_before_and_after():
    """The table is what the documentation shows."""
    assert COMPOSITIONS["sigmoid"].text() == (
        "sigmoid: the logistic function, or a product with it as in swish\n"
        "  before  %e = exp(-%x); %y = 1 / (1 + %e)\n"
        "  after   %y = sigmoid(%x)"
    )
    assert all(name in each.after for name, each in COMPOSITIONS.items())


def test_the_page_is_what_the_table_says():
    """The page in docs/ is what the generator writes now."""
    assert PAGE.read_text(encoding="utf-8") == page(), f"{PAGE.name} is stale: run `{COMMAND}`"
    assert page().count("\nbefore  ") == page().count("\nafter   ") == len(ALL)
