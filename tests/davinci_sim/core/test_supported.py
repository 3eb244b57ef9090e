"""Which instructions of a program its chip does not have."""

from __future__ import annotations

import pytest

from davinci_sim.core.program import parse
from davinci_sim.core.supported import unsupported
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.platforms import assumed, platform
from davinci_sim.platforms.instructions import THEIRS

EVERYWHERE = {"set_flag", "wait_flag", "pipe_barrier", "data_move", "load2d", "load3d", "set_2d"}
EVERYWHERE |= {"vector_dup", "gather_rows", "scatter_rows"}
"""What the vendor's lists do not speak of."""


def words(*kinds: tuple[str, str, str]):
    """Return records of instructions (name, dtype, operands beside the usual ones)."""
    lines = []
    for name, dtype, extra in kinds:
        declared = INSTRUCTIONS[name]
        values = {field.name: "0" for field in declared.fields}
        values |= {operand.name: f"{operand.spaces[0].name}+0x0" for operand in declared.operands}
        values |= dict(pair.split("=") for pair in extra.split())
        pairs = " ".join(f"{key}={value}" for key, value in values.items())
        lines.append(f"PIPE_V {name} {pairs} dtype={dtype}")
    return parse("\n".join(lines)).words


def test_every_instruction_is_known_by_the_vendors_name_or_is_everywhere():
    """A new instruction is entered in `davinci_sim.platforms.instructions`."""
    assert sorted(set(INSTRUCTIONS) - set(THEIRS) - EVERYWHERE) == []


def test_what_the_chip_has_is_not_reported():
    """Records of the first chip on itself."""
    program = words(
        ("vadd", "fp16", ""), ("vdiv", "fp32", ""), ("vconv", "fp32", "to=0"), ("set_flag", "fp16", "")
    )
    assert unsupported(program, platform("ascend910a")) == []


def test_each_instruction_and_type_is_reported_once_at_its_first_record():
    """The 310 has no division at all, and exponentials of fp16 only."""
    program = words(
        ("vexp", "fp16", ""), ("vdiv", "fp32", ""), ("vexp", "fp32", ""), ("vdiv", "fp32", ""),
        ("vdiv", "fp16", ""),
    )  # fmt: skip
    assert unsupported(program, platform("ascend310")) == [
        (1, "vdiv", "fp32"), (2, "vexp", "fp32"), (4, "vdiv", "fp16")
    ]  # fmt: skip


def test_conversions_are_told_apart_by_the_type_of_the_result():
    """fp16 to fp32 is everywhere, fp32 to fp16 is not: the Lite class has fp16 only."""
    program = words(("vconv", "fp16", "to=1"), ("vconv", "fp32", "to=0"))
    assert unsupported(program, platform("ascend_lite")) == [(1, "vconv", "fp32>fp16")]


@pytest.mark.parametrize(("chip", "found"), [("ascend910a", []), ("ascend_lite", [(0, "mmad", "fp16>fp32")])])
def test_products_are_told_apart_by_their_accumulators(chip, found):
    """The Lite class accumulates fp16 in fp16."""
    assert unsupported(words(("mmad", "fp16", "m=16 k=16 n=16")), platform(chip)) == found


def test_a_chip_of_which_nothing_is_known_has_everything():
    """A platform without a list refuses nothing."""
    bare = platform("ascend310")
    bare = type(bare)("bare", bare.description, bare.figures)
    assert unsupported(words(("vdiv", "fp32", "")), bare) == []
    varied = platform("ascend310").with_figures("varied", ai_cores=assumed(1, "", "a what-if"))
    assert unsupported(words(("vdiv", "fp32", "")), varied) == [(0, "vdiv", "fp32")]
