"""Layouts place every element exactly once and pad with zeros."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davinci_sim.errors import BadShape, ShapeMismatch, UnknownName
from davinci_sim.memory import BF16, DTYPES, F16, F32, I4, I8, LAYOUTS, c0, dtype, from_device, to_device

MATRIX_LAYOUTS = ["NZ", "ZZ", "ZN"]
FOUR_AXES = ["NC1HWC0", "NC1HWC0_C04", "FRACTAL_Z", "FRACTAL_Z_C04"]
length = st.integers(1, 40)


@st.composite
def tensors(draw):
    """A layout, and an array without zeros whose shape the layout accepts."""
    name = draw(st.sampled_from(sorted(LAYOUTS)))
    if name in FOUR_AXES:
        channels = st.integers(1, 4) if name == "FRACTAL_Z_C04" else length
        shape = draw(st.tuples(length, channels, st.integers(1, 4), st.integers(1, 4)))
    else:
        batch = draw(st.lists(st.integers(1, 3), max_size=2))
        shape = (*batch, draw(length), draw(length)) if draw(st.booleans()) else (draw(length),)
    element = draw(st.sampled_from(DTYPES))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**32))))
    high = 8 if element.bits == 4 else 100
    return name, rng.integers(1, high, shape).astype(element.numpy)


@given(tensors())
def test_unpack_returns_what_pack_was_given(case):
    """Packing loses nothing."""
    name, array = case
    restored = LAYOUTS[name].unpack(LAYOUTS[name].pack(array), array.shape)
    assert restored.dtype == array.dtype
    np.testing.assert_array_equal(restored, array)


@given(tensors())
def test_padding_is_zero_and_nothing_is_stored_twice(case):
    """Device memory holds the elements of the tensor and zeros, in the announced shape."""
    name, array = case
    packed = LAYOUTS[name].pack(array)
    assert packed.shape == LAYOUTS[name].device_shape(array.shape, dtype(array.dtype))
    assert to_device(packed).nbytes == LAYOUTS[name].bytes(array.shape, dtype(array.dtype))
    numbers = packed[packed != 0].astype(np.float32)
    np.testing.assert_array_equal(np.sort(numbers), np.sort(array.astype(np.float32).ravel()))


def test_the_published_examples_have_the_published_shapes():
    """The shapes that the vendor's documentation and the kit's contract state."""
    assert LAYOUTS["NC1HWC0"].device_shape((1, 17, 4, 4), F16) == (1, 2, 4, 4, 16)
    assert LAYOUTS["NZ"].device_shape((17, 17), F16) == (2, 2, 16, 16)
    assert LAYOUTS["FRACTAL_Z"].device_shape((32, 32, 2, 2), F16) == (8, 2, 16, 16)
    assert LAYOUTS["NZ"].device_shape((3, 17, 33), I8) == (3, 2, 2, 16, 32)
    assert LAYOUTS["ZN"].device_shape((33, 17), I8) == (2, 2, 16, 32)
    assert LAYOUTS["NZ"].device_shape((17, 17), F32) == (2, 2, 16, 16)


@pytest.mark.parametrize("element", [F16, I8, BF16, I4])
def test_each_layout_puts_an_element_where_its_definition_says(element):
    """The index of one element, written out per layout."""
    edge = c0(element)
    row, column = 18, edge + 3
    matrix = np.zeros((40, 2 * edge), element.numpy)
    matrix[row, column] = 1
    assert LAYOUTS["NZ"].pack(matrix)[column // edge, row // 16, row % 16, column % edge] == 1
    assert LAYOUTS["ZZ"].pack(matrix)[row // 16, column // edge, row % 16, column % edge] == 1
    assert LAYOUTS["ZN"].pack(matrix)[row // edge, column // 16, column % 16, row % edge] == 1
    images = np.zeros((2, 80, 3, 5), element.numpy)
    images[1, 37, 2, 4] = 1
    assert LAYOUTS["NC1HWC0"].pack(images)[1, 37 // edge, 2, 4, 37 % edge] == 1
    weights = np.zeros((20, 40, 3, 5), element.numpy)
    weights[18, 37, 2, 4] = 1
    assert LAYOUTS["FRACTAL_Z"].pack(weights)[(37 // edge * 3 + 2) * 5 + 4, 18 // 16, 18 % 16, 37 % edge] == 1


@pytest.mark.parametrize("name", MATRIX_LAYOUTS)
def test_a_vector_is_one_row(name):
    """A vector lies as the matrix with one row does."""
    vector = np.arange(1, 20, dtype=np.float16)
    np.testing.assert_array_equal(LAYOUTS[name].pack(vector), LAYOUTS[name].pack(vector[None]))


def test_a_wrong_number_of_axes_is_refused():
    """The message has the layout, the shape, the rule and the next step."""
    with pytest.raises(BadShape) as error:
        LAYOUTS["NC1HWC0"].pack(np.zeros((4, 4), np.float16))
    assert str(error.value) == (
        "NC1HWC0: shape (4, 4) has 2 axes, the layout takes 4 (n c h w); reshape the tensor first"
    )
    with pytest.raises(BadShape, match=r"^NZ: shape \(\) has 0 axes, the layout takes 1 or more"):
        LAYOUTS["NZ"].device_shape((), F16)
    with pytest.raises(BadShape, match=r"^ND: shape \(2, -1\) has a negative length"):
        LAYOUTS["ND"].device_shape((2, -1), F16)


def test_unpacking_to_another_shape_is_refused():
    """The message says what the array could have held."""
    with pytest.raises(ShapeMismatch) as error:
        LAYOUTS["NZ"].unpack(np.zeros((2, 2, 16, 16), np.float16), (17, 40))
    assert str(error.value) == (
        "NZ: an array of shape (2, 2, 16, 16) does not hold a fp16 tensor of shape (17, 40), which lies as "
        "(3, 2, 16, 16); pass the shape that was packed"
    )


@pytest.mark.parametrize("name", ["fp16", "float16", "FP16", "half", np.float16, np.dtype(np.float16), F16])
def test_a_dtype_has_many_spellings(name):
    """The device's name, NumPy's name and NumPy's types all name fp16."""
    assert dtype(name) is F16


def test_codes_count_from_zero():
    """Instruction records store the code."""
    assert [d.code for d in DTYPES] == list(range(9))
    names = ["fp16", "fp32", "int32", "int8", "uint8", "int16", "uint16", "bf16", "int4"]
    assert [d.name for d in DTYPES] == names


@given(st.sampled_from(DTYPES), st.integers(0, 40), st.integers(0, 99))
def test_numbers_come_back_from_the_device(element, count, seed):
    """Device bytes hold them all, two int4 to a byte."""
    numbers = np.random.default_rng(seed).integers(-8, 8, count).astype(np.int8).astype(element.numpy)
    raw = to_device(numbers)
    assert raw.nbytes == element.bytes_of(count)
    np.testing.assert_array_equal(from_device(raw, element, count), numbers)


def test_half_a_byte_has_no_size_in_bytes():
    """The message says what to ask for."""
    with pytest.raises(BadShape) as error:
        _ = I4.itemsize_bytes
    assert str(error.value) == (
        "int4: one number takes 4 bits\n  rule: a size in bytes is that of many numbers\n"
        "  next: ask for bytes_of(count)"
    )
    assert LAYOUTS["NZ"].bytes((17, 65), I4) == 2 * 2 * 512


def test_the_memory_package_leaves_ml_dtypes_alone():
    """It is imported when NumPy's bf16 or int4 is first asked for."""
    code = "import sys, davinci_sim.memory; sys.exit('ml_dtypes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_dtype_is_answered_with_the_nearest():
    """A typo names what was meant."""
    with pytest.raises(UnknownName) as error:
        dtype("fp61")
    assert str(error.value) == (
        "unknown dtype 'fp61': did you mean fp16? Known: bf16, fp16, fp32, int16, int32, int4, int8, "
        "uint16, uint8"
    )
    with pytest.raises(UnknownName, match=r"^unknown dtype 'float64'"):
        dtype(np.float64)


def test_few_channels_fill_fractals_together():
    """Element (h, w) of channel c lies at (h * 7 + w) * 4 + c of the inner axis, which ends after 196."""
    weights = np.arange(1, 2 * 3 * 49 + 1, dtype=np.float32).reshape(2, 3, 7, 7)
    packed = LAYOUTS["FRACTAL_Z_C04"].pack(weights)
    assert packed.shape == (13, 1, 16, 16)
    k = (5 * 7 + 6) * 4 + 2
    assert packed[k // 16, 0, 1, k % 16] == weights[1, 2, 5, 6]
    assert LAYOUTS["NC1HWC0_C04"].device_shape((32, 3, 224, 224), F16) == (32, 1, 224, 224, 4)
    with pytest.raises(BadShape) as error:
        LAYOUTS["FRACTAL_Z_C04"].device_shape((8, 5, 3, 3), F16)
    assert str(error.value) == (
        "FRACTAL_Z_C04: shape (8, 5, 3, 3) has 5 input channels\n"
        "  rule: they are at most 4\n  next: use FRACTAL_Z"
    )
