"""FRACTAL_Z of a convolution with groups: parts with the groups' weights on their diagonals."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import BadShape
from davinci_sim.memory import F16, LAYOUTS


@pytest.mark.parametrize("case", [(1, 20, 17), (2, 8, 5), (4, 64, 16), (6, 12, 3), (32, 128, 4), (40, 40, 1)])
def test_unpack_returns_what_pack_was_given(case):
    groups, outputs, inputs = case
    layout = LAYOUTS[f"FRACTAL_Z:{groups}"]
    weights = np.arange(outputs * inputs * 6, dtype=np.float16).reshape(outputs, inputs, 3, 2)
    packed = layout.pack(weights)
    assert packed.shape == layout.device_shape(weights.shape, F16)
    np.testing.assert_array_equal(layout.unpack(packed, weights.shape), weights)


def test_neighbouring_groups_fill_fractals_together():
    """32 groups of 4 channels: four of them have 16 channels on both sides, so eight parts of one fractal."""
    layout = LAYOUTS["FRACTAL_Z:32"]
    packed = layout.pack(np.ones((128, 4, 1, 1), np.float16))
    assert packed.shape == (8, 1, 16, 16)
    blocks = packed[3, 0].reshape(4, 4, 4, 4)
    assert all(np.all(blocks[i, :, j] == (i == j)) for i in range(4) for j in range(4))


def test_one_group_lies_as_without():
    weights = np.arange(20 * 17 * 9, dtype=np.float16).reshape(20, 17, 3, 3)
    np.testing.assert_array_equal(LAYOUTS["FRACTAL_Z:1"].pack(weights), LAYOUTS["FRACTAL_Z"].pack(weights))


def test_groups_that_do_not_divide_the_outputs_are_refused():
    with pytest.raises(BadShape) as refused:
        LAYOUTS["FRACTAL_Z:3"].device_shape((8, 2, 1, 1), F16)
    assert str(refused.value) == (
        "FRACTAL_Z:3: shape (8, 2, 1, 1) has 8 output channels\n"
        "  rule: groups divide them\n  next: use a multiple of 3"
    )


def test_other_layouts_have_no_groups():
    with pytest.raises(KeyError):
        LAYOUTS["NZ:2"]
