"""Which instructions a chip has, in the words of the vendor's files and in ours."""

from __future__ import annotations

import pytest

from davinci_sim.platforms import assumed, platform, platform_names
from davinci_sim.platforms.instructions import from_configuration


@pytest.mark.parametrize(
    ("word", "types"),
    [
        ("float16", {"fp16"}),
        ("uint16", {"uint16"}),
        ("s8", {"int8"}),
        ("f322f16", {"fp32>fp16"}),
        ("f322f16o", {"fp32>fp16", "fp32>fp16:o"}),
        ("f162s8a", {"fp16>int8", "fp16>int8:a"}),
        ("bf162f32", {"bf16>fp32"}),
        ("deq", {"int32>fp16:deq"}),
        ("f32f16f16", {"fp16>fp32"}),
        ("s32u8s8", {"uint8*int8>int32"}),
        ("u16u16", {"uint16"}),
        ("f16f16u2", set()),  # compressed weights
    ],
)
def test_a_word_of_a_configuration_file_becomes_types(word, types):
    """Plain, a conversion with its rounding, or the result first."""
    assert from_configuration({"vconv": word}) == {"vconv": types}


@pytest.mark.parametrize(
    ("chip", "instruction", "dtype", "has"),
    [
        ("ascend910a", "vadd", "fp32", True),
        ("ascend910a", "vadd", "int16", False),
        ("ascend910a", "vconv", "fp32>fp16:o", True),
        ("ascend910a", "vconv", "fp32", True),  # from fp32 to something
        ("ascend910a", "vlrelu", "fp16", False),
        ("ascend310", "vdiv", "fp16", False),
        ("ascend310", "vsqrt", "fp16", False),
        ("ascend310", "vexp", "fp16", True),
        ("ascend310", "vexp", "fp32", False),
        ("ascend310", "vconv", "fp32>fp16:o", False),
        ("ascend310p3", "vlrelu", "fp32", True),
        ("ascend310p3", "mmad", "int4>int32", True),
        ("ascend_lite", "mmad", "fp16>fp16", True),
        ("ascend_lite", "mmad", "fp16>fp32", False),
        ("ascend_lite", "vadd", "fp32", False),
        ("ascend_tiny", "mmad", "bf16>fp32", True),
        ("ascend_tiny", "l0c_to_ub", "fp32", False),
        ("ascend910b1", "mmad", "bf16>fp32", True),
        ("ascend910b1", "mmad", "fp32>fp32", True),
        ("ascend910b1", "broadcast_ub_to_l0c", "fp32", False),
    ],
)
def test_a_chip_has_what_its_configuration_file_lists(chip, instruction, dtype, has):
    """Later chips have more; the small ones compute in fp16 only."""
    assert platform(chip).supports(instruction, dtype) is has


@pytest.mark.parametrize("name", platform_names())
def test_what_the_files_do_not_speak_of_is_everywhere(name):
    """Flags, barriers and moves of bytes."""
    chip = platform(name)
    assert all(chip.supports(one, "fp16") for one in ("set_flag", "pipe_barrier", "data_move", "load2d"))


def test_a_varied_chip_keeps_its_instructions():
    """A what-if changes figures only."""
    varied = platform("ascend310").with_figures("varied", ub_bytes=assumed(131072, "B", "what if"))
    assert varied.instructions == platform("ascend310").instructions
    assert not varied.supports("vdiv", "fp16")
