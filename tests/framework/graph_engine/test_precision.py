"""Precision modes put casts where operators then compute in float16, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from davinci_sim import Chip
from davinci_sim.errors import UnknownName
from framework import Tensor, grad, jit, ops
from framework.graph_engine import Options, Session
from framework.ir import Func, evaluate
from framework.passes import FLAT, run

GENERATOR = np.random.default_rng(7)
X, W = (GENERATOR.standard_normal(shape).astype(np.float32) for shape in ((16, 32), (32, 16)))


def layer(x: Any, w: Any) -> Any:
    """Return a product between element-wise operators."""
    return ops.tanh(ops.matmul(ops.relu(x), w) + 1.0)


def func() -> Func:
    found: Func = jit(layer).compiled(Tensor(X), Tensor(W)).func
    return found


def dtypes(precision: str) -> dict[str, str]:
    """Return the dtype of each operator's result."""
    session = Session(func(), Chip("ascend910a"), options=Options(precision=precision))
    values = session.prepared.values
    return {
        node.op: values[node.outputs[0]].type.dtype.name
        for node in session.prepared.nodes
        if node.op != "cast"
    }


def test_keep_changes_nothing():
    assert set(dtypes("keep").values()) == {"float32"}


def test_mixed_casts_what_the_cube_reads_and_nothing_else():
    session = Session(func(), Chip("ascend910a"), options=Options(precision="mixed"))
    values = session.prepared.values
    product = next(node for node in session.prepared.nodes if node.op == "matmul")
    assert [values[name].type.dtype.name for name in product.inputs] == ["float16", "float16"]
    assert set(dtypes("mixed").values()) == {"float32"}
    assert sum(node.op == "cast" for node in session.prepared.nodes) == 2


def turned(x: Any, w: Any, n: Any) -> Any:
    """Return a product of what a loop of products leaves."""
    y = ops.matmul(x, w)
    while n > 0:
        x = ops.relu(ops.matmul(x, w)) + y
        n -= 1
    return ops.matmul(x, w)


def chosen(x: Any, w: Any, n: Any) -> Any:
    """Return a product behind two branches with products of the same matrices."""
    if n > 1:  # noqa: SIM108 - branches as statements
        y = ops.matmul(x, w)
    else:
        y = ops.matmul(x, w) * 2.0
    return ops.matmul(x, ops.transpose(w, (1, 0))) + y


@pytest.mark.parametrize("precision", ["mixed", "force_fp16"])
@pytest.mark.parametrize("function", [turned, chosen])
def test_casts_are_made_anew_behind_jumps(function, precision):
    """A branch that is not taken has cast nothing, and a turn gives the state of a loop other numbers."""
    x, w = GENERATOR.standard_normal((2, 16, 16)).astype(np.float32) * 0.25
    found = run(jit(function).compiled(Tensor(x), Tensor(w), 2).func, FLAT)
    session = Session(found, Chip("ascend910a"), options=Options(precision=precision, fusion=False))
    for n in range(3):
        feeds = {p.name: np.asarray(a)[None] for p, a in zip(found.params, (x, w, n), strict=True)}
        ((result,),) = session.run(feeds).outputs.values()
        (expected,) = evaluate(found, [x, w, np.asarray(n)])
        np.testing.assert_allclose(result, expected, rtol=1e-2, atol=1e-2)


def test_force_fp16_leaves_the_means_of_a_normalisation_as_the_kernel_takes_them():
    """Its gradient is computed in float32 then, and not from half of the bytes."""

    def loss(x: Any, gamma: Any, beta: Any) -> Any:
        return ops.reduce_sum(ops.tanh(ops.layer_norm(x, gamma, beta)[0]))

    arrays = (X, *GENERATOR.standard_normal((2, 32)).astype(np.float32))
    found = run(jit(grad(loss)).compiled(*map(Tensor, arrays)).func, FLAT)
    session = Session(found, Chip("ascend910a"), options=Options(precision="force_fp16"))
    feeds = {p.name: a[None] for p, a in zip(found.params, arrays, strict=True)}
    ((result,),) = session.run(feeds).outputs.values()
    np.testing.assert_allclose(result, evaluate(found, arrays)[0], rtol=2e-2, atol=2e-2)


def test_force_fp16_keeps_constants_that_are_beyond_it():
    """A mask of zeros times -1e9 is zero, and not a number if that were infinite."""

    def masked(x: Any, mask: Any) -> Any:
        return ops.softmax(x + (1.0 - mask) * -1e9)

    mask = np.tri(16, 32, dtype=np.float32)
    found = run(jit(masked).compiled(Tensor(X), Tensor(mask)).func, FLAT)
    session = Session(found, Chip("ascend910a"), options=Options(precision="force_fp16"))
    ((result,),) = session.run(
        {p.name: a[None] for p, a in zip(found.params, (X, mask), strict=True)}
    ).outputs.values()
    np.testing.assert_allclose(result, evaluate(found, [X, mask])[0], rtol=2e-2, atol=2e-3)


def test_force_fp16_computes_everything_in_half_and_gives_float32():
    found = dtypes("force_fp16")
    assert (found["relu"], found["tanh"]) == ("float16", "float16")
    session = Session(func(), Chip("ascend910a"), options=Options(precision="force_fp16"))
    assert session.prepared.values[session.prepared.outputs[0]].type.dtype.name == "float32"


@pytest.mark.parametrize("precision", ["keep", "mixed", "force_fp16"])
def test_every_mode_gives_the_numbers_within_its_rounding(precision: str):
    session = Session(func(), Chip("ascend910a"), options=Options(precision=precision))
    names = session.prepared.inputs
    (found,) = session.run({names[0]: X[None], names[1]: W[None]}).outputs.values()
    expected = np.tanh(np.maximum(X, 0) @ W + 1.0)
    np.testing.assert_allclose(found[0], expected, atol=1e-5 if precision == "keep" else 2e-2)


def test_a_mode_that_there_is_not_is_refused():
    with pytest.raises(UnknownName, match="precision"):
        Options(precision="half")
