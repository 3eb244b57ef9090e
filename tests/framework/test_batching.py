"""Every operator's rule for batches equals a loop over the batch, drawn from the operator table."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from framework.ir import Builder, TensorType, evaluate, verify
from framework.ops import OPERATORS, Op

SIZE = 3
ONE_BY_ONE = {
    "conv2d": [(True, True)],  # a filter of its own for each image
    "conv2d_backward_input": [(False, True), (True, True)],
    "conv2d_backward_filter": [(True, True)],
    "apply_momentum": [
        (*each, True) for each in itertools.product((False, True), repeat=3)
    ],  # learning rates
    "dropout": [(False, True), (True, False), (True, True)],
    "dropout_grad": [(False, True), (True, False), (True, True)],
}
"""Inputs with a batch axis for which a rule may say that it knows no way."""
OF_WHOLE_TENSORS = ("apply_lamb", "clip_by_norm", "float_status", "global_norm")
"""Operators that know no way for any: their numbers belong to one tensor."""
TENSORS_OF = {
    "apply_momentum": 3,
    "apply_momentum_decay": 3,
    "apply_sgd": 2,
    "apply_adam": 4,
    "apply_adamw": 4,
}
"""Updates: how many tensors come before the numbers, which are the same for all items."""


def may_know_no_way(op, chosen):
    """Tell whether a rule leaves inputs with a batch axis to be taken one by one."""
    if op.name in TENSORS_OF:
        return any(chosen[TENSORS_OF[op.name] :])
    return op.name in OF_WHOLE_TENSORS or chosen in ONE_BY_ONE.get(op.name, [])


def choices(sample):
    """Return all choices of inputs with a batch axis."""
    return [each for each in itertools.product((False, True), repeat=len(sample.args)) if any(each)]


CASES = [
    pytest.param(op, sample, id=f"{op.name}-{number}")
    for op in OPERATORS.values()
    if op.batch is not None
    for number, sample in enumerate(op.samples)
]


@pytest.mark.parametrize(("op", "sample"), CASES)
def test_a_batch_gives_what_its_items_give(op, sample):
    """The rule computes all items at once, whichever inputs have a batch axis."""
    items = [sample.draw(np.random.default_rng(seed)) for seed in range(SIZE)]
    for chosen in choices(sample):
        check_batch(op, sample, items, chosen)


def check_batch(op, sample, items, chosen):
    """Compare a batch in the inputs that are chosen with its items, one after the other."""
    by_input = zip(zip(*items, strict=True), chosen, strict=True)
    stacked = [np.stack(each) if one else each[0] for each, one in by_input]
    singles = [
        [each[turn] if one else each for each, one in zip(stacked, chosen, strict=True)]
        for turn in range(SIZE)
    ]
    types = tuple(TensorType.of(each) for each in singles[0])
    attrs = op.normalized(types, op.bind(singles[0], dict(sample.attrs))[1])
    builder = Builder()
    params = [builder.param(TensorType.of(each)) for each in stacked]
    outputs = op.batch(params, list(chosen), attrs, SIZE)
    assert (outputs is None) == may_know_no_way(op, chosen), chosen
    if outputs is None:
        return
    found = evaluate(verify(builder.finish(op.name, outputs)), stacked)
    wanted = zip(*(op.run(each, attrs) for each in singles), strict=True)
    for batch, parts in zip(found, wanted, strict=True):
        np.testing.assert_allclose(batch, np.stack(parts), rtol=1e-12, atol=1e-12, err_msg=str(chosen))


def test_every_operator_has_a_rule_for_batches():
    """One without inputs needs none."""
    assert [op.name for op in OPERATORS.values() if type(op) is Op and op.input_names and not op.batch] == []
