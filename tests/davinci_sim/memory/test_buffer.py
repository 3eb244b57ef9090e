"""Buffers print as the design says and never outgrow their space."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import BadShape, OutOfSpace, UnknownName
from davinci_sim.memory import F16, F32, Buffer, Space, alignment_bytes, capacity_bytes
from davinci_sim.platforms import platform


@pytest.fixture(scope="module")
def chip():
    """The Ascend 910A."""
    return platform("ascend910a")


def test_a_buffer_prints_name_space_shape_dtype_and_layout():
    """`a0@L1[64, 32] fp16 NZ` is how messages show an operand."""
    buffer = Buffer("a0", Space.L1, 0, (64, 32), F16, "NZ")
    assert str(buffer) == repr(buffer) == "a0@L1[64, 32] fp16 NZ"


def test_bytes_include_the_padding():
    """17 x 17 fp16 in NZ takes four fractals."""
    buffer = Buffer("a", Space.L1, 64, (17, 17), F16, "NZ")
    assert buffer.nbytes == 4 * 512
    assert buffer.device_shape == (2, 2, 16, 16)
    assert buffer.end_bytes == 64 + 4 * 512


def test_a_buffer_may_fill_its_space_but_not_outgrow_it(chip):
    """The message says which buffer, needed and available bytes."""
    Buffer("x", Space.UB, 0, (65536,), F32).check(chip)
    with pytest.raises(OutOfSpace) as error:
        Buffer("x", Space.UB, 32, (65536,), F32).check(chip)
    assert str(error.value) == (
        "x@UB[65536] fp32 ND does not fit UB of ascend910a from address 32: needs 262144 bytes, "
        "available 262112; use a smaller tile"
    )
    with pytest.raises(OutOfSpace, match="needs 32768 bytes, available 0"):
        Buffer("a", Space.L0A, 65536, (128, 128), F16, "ZZ").check(chip)


def test_a_space_that_the_chip_lacks_holds_nothing(chip):
    """The first generation has no bias table."""
    assert capacity_bytes(Space.BT, chip) == 0
    with pytest.raises(OutOfSpace, match="available 0"):
        Buffer("bias", Space.BT, 0, (16,), F32).check(chip)


def test_bad_fields_are_refused():
    """A layout that does not exist, a shape that it cannot hold, an address below 0."""
    with pytest.raises(UnknownName, match=r"^unknown layout 'NZZ': did you mean "):
        Buffer("a", Space.L1, 0, (16, 16), F16, "NZZ")
    with pytest.raises(BadShape, match=r"^NC1HWC0: shape"):
        Buffer("a", Space.L1, 0, (16, 16), F16, "NC1HWC0")
    with pytest.raises(BadShape, match=r"its address -32 is negative"):
        Buffer("a", Space.L1, -32, (16, 16), F16)


def test_spaces_have_fixed_numbers():
    """Instruction records store them."""
    assert [space.name for space in Space] == ["GM", "L2", "L1", "L0A", "L0B", "L0C", "UB", "BT", "FB"]
    assert [int(space) for space in Space] == list(range(9))


def test_alignments_are_powers_of_two_that_divide_the_capacity(chip):
    """An aligned buffer can end where its space ends."""
    for space in Space:
        alignment = alignment_bytes(space, chip)
        assert np.bitwise_count(alignment) == 1
        assert capacity_bytes(space, chip) % alignment == 0
