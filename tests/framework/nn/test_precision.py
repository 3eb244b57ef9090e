"""Which dtypes layers give in mixed precision."""

from __future__ import annotations

import numpy as np
import pytest

from framework import Tensor, nn

X = Tensor(np.ones((2, 4, 6, 6), np.float32))
ROWS = Tensor(np.ones((2, 4), np.float32))


@pytest.mark.parametrize(("dtypes", "wanted"), [
    ((), "float32"), (("float16",), "float16"), (("float16", "float32"), "float32"),
])  # fmt: skip
@pytest.mark.parametrize(("cell", "x"), [
    (lambda: nn.Conv2d(4, 3, 3), X), (lambda: nn.Dense(4, 3, has_bias=False), ROWS),
])  # fmt: skip
def test_products_give_the_dtype_that_to_float_says(cell, x, dtypes, wanted):
    """That of the operands, or another one; Parameters keep theirs."""
    layer = cell()
    if dtypes:
        layer.to_float(*dtypes)
    assert str(layer(x).dtype) == wanted
    assert str(layer.weight.dtype) == "float32"


@pytest.mark.parametrize("layer", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.GlobalAvgPool2d(), nn.BatchNorm2d(4)])
def test_other_layers_compute_and_give_half_precision(layer):
    """Whatever they do inside."""
    assert str(layer.to_float("float16")(X).dtype) == "float16"


@pytest.mark.parametrize("loss", [nn.SoftmaxCrossEntropyWithLogits(), nn.CrossEntropySmooth(3)])
def test_losses_of_half_precision_are_float32(loss):
    """Their sums have as many digits."""
    logits = Tensor(np.float16([[1, 2, 3]]))
    assert str(loss(logits, Tensor(np.int32([1]))).dtype) == "float32"
