"""Every shipped kernel on every shipped chip: it computes what its reference does, or says why it cannot."""

from __future__ import annotations

import re

import numpy as np
import pytest

import kernels
from davinci_sim.chip import Chip
from davinci_sim.core.supported import UnsupportedInstruction
from davinci_sim.errors import BadTiling, DavinciError, OutOfSpace
from davinci_sim.platforms import assumed, platform, platform_names
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape
from kernels.run import place, random_inputs, references, run
from kernels.samples import LARGE, SMALL, shapes
from kernels.tolerance import compare

REFUSALS: dict[str, tuple[type[DavinciError], ...]] = {
    "ascend910a": (),
    "ascend310p3": (),
    "ascend_tiny": (UnsupportedInstruction, BadTiling),
}
"""What a chip may answer; others lack instructions only."""


def outcome(kernel: Kernel, shape: Shape, chip, refusals: tuple[type[DavinciError], ...]) -> str:
    """Return which outputs are wrong (none: right), or the error that refuses the kernel."""
    inputs = random_inputs(kernel, shape, 1)
    try:
        outputs, _ = run(kernel, shape, inputs, Chip(chip))
    except refusals as error:
        return str(error)
    expected = references(kernel, shape, inputs)
    return ", ".join(name for name in expected if compare(outputs[name], expected[name]).wrong)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # logarithms of negative numbers, on both sides
@pytest.mark.parametrize("chip", platform_names())
@pytest.mark.parametrize("name", kernels.load())
def test_a_kernel_computes_right_or_is_refused_with_the_reason(name, chip):
    """An error names the kernel, what is lacking, and the next step."""
    kernel = kernels.find(name)
    for shape in shapes(kernel, SMALL):
        found = outcome(kernel, shape, platform(chip), REFUSALS.get(chip, (UnsupportedInstruction,)))
        if found:
            assert found.startswith(f"kernel {name} of shape {shape}")
            assert " lacks " in found or (" needs " in found and " are available" in found)
            assert found.count("\n  next: ") == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", kernels.load())
def test_large_shapes_compute_right_on_a_chip_with_half_of_the_unified_buffer(name):
    """The default tilings give way to smaller ones where they must."""
    half = assumed(131072, "B", "what if UB were halved")
    chip = platform("ascend910a").with_figures("half", ub_bytes=half)
    kernel = kernels.find(name)
    assert {outcome(kernel, shape, chip, ()) for shape in shapes(kernel, LARGE)} == {""}


def refusal(name: str, chip: str, dtype: str | None = None, **axes: int) -> str:
    """Return how a kernel is refused on a chip."""
    kernel = kernels.find(name)
    with pytest.raises(DavinciError) as refused:
        place(kernel, kernel.shape_type.of(name, axes, dtype), None, Chip(chip))
    return str(refused.value)


def without_place(message: str) -> str:
    """Return a message without lines of source, which move."""
    return "\n".join(line for line in message.splitlines() if "kernels/" not in line)


def test_a_lacking_instruction_is_named_with_the_chips_that_have_it():
    """The 310 has no division; the reciprocals of fp16 are too narrow to do without."""
    assert without_place(refusal("div", "ascend310", n=100)) == (
        "kernel div of shape n=100,rows=1,pattern=0,dtype=fp16: ascend310 lacks vdiv of fp16\n"
        "  rule: a kernel uses what the vendor lists for the chip; `davinci platform NAME --json` shows it\n"
        "  next: use another dtype, or a chip that has all: ascend310p3, ascend910a, ascend910b1, "
        "ascend_lite, ascend_tiny"
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_chip_without_square_roots_has_those_of_special_numbers(dtype):
    """The 310 inverts the inverse root: 0, infinity and the least number come out exactly, -1 as NaN."""
    tiny = np.finfo(dtype).tiny
    x = np.array([0.0, -0.0, np.inf, -1.0, 1.0, 4.0, tiny], dtype)
    kernel = kernels.find("sqrt")
    shape = kernel.shape_type.of("sqrt", {"n": len(x)}, "fp16" if dtype == np.float16 else "fp32")
    outputs, _ = run(kernel, shape, {"x": x}, Chip("ascend310"))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(outputs["y"][:6], np.sqrt(x)[:6])
    assert outputs["y"][6] == pytest.approx(np.sqrt(tiny), rel=2**-10)


def test_a_chip_without_division_has_quotients_of_special_numbers():
    """The 310 multiplies by the reciprocal in fp32."""
    a = np.array([0.0, 0.0, 1.0, -1.0, np.inf, np.inf, 1.0, 6.0], np.float32)
    b = np.array([0.0, 2.0, 0.0, np.inf, 2.0, np.inf, -0.0, 2.0], np.float32)
    kernel = kernels.find("div")
    shape = kernel.shape_type.of("div", {"n": len(a)}, "fp32")
    outputs, _ = run(kernel, shape, {"a": a, "b": b}, Chip("ascend310"))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(outputs["c"], a / b)


def test_a_matrix_product_needs_a_chip_whose_accumulators_reach_the_unified_buffer():
    """Chips with a FixPipe have no move from L0C to UB."""
    found = refusal("matmul", "ascend910b1", m=16, k=16, n=16)
    assert "ascend910b1 lacks l0c_to_ub of fp32\n" in found
    assert found.endswith("a chip that has all: ascend310, ascend310p3, ascend910a")


def test_a_buffer_that_no_tiling_fits_is_named_with_both_sizes():
    """The smallest chip cannot cut fp32 operands."""
    found = refusal("matmul", "ascend_tiny", "fp32", m=16, k=16, n=16)
    sizes = re.search(r": buffer [\w, ]+@UB needs (\d+) bytes, (\d+) are available\n", found)
    assert sizes is not None
    assert int(sizes[1]) > int(sizes[2])
    step = "no smaller tiling is offered for ascend_tiny; use a smaller shape, or a chip with more room"
    assert found.endswith(f"\n  next: {step}")


def test_a_default_tiling_that_does_not_fit_gives_way_to_a_smaller_one():
    """Rows of 500 numbers: 16 of them are more than the smallest chip holds twice."""
    kernel = kernels.find("reduce_sum")
    shape = kernel.shape_type.of("reduce_sum", {"m": 300, "n": 500}, "fp32")
    tiny = platform("ascend_tiny")
    first, fitting = kernel.tiling_type.default(shape, tiny), kernel.tiling(shape, tiny)
    assert kernel.overflow(shape, first, tiny) is not None
    assert kernel.overflow(shape, fitting, tiny) is None
    assert outcome(kernel, shape, tiny, ()) == ""


def test_a_tiling_that_was_asked_for_is_not_changed():
    kernel = kernels.find("add")
    shape = kernel.shape_type.of("add", {"n": 100_000})
    tiling = kernel.tiling_type(tile=60_000, slots=2)
    with pytest.raises(BadTiling) as refused:
        run(kernel, shape, random_inputs(kernel, shape, 1), Chip(), tiling)
    assert ", tiling tile=60000,slots=2,cores=1: " in str(refused.value)
    assert str(refused.value).endswith("\n  next: use smaller tiles or fewer slots")


def test_tensors_that_device_memory_does_not_hold_are_named():
    few = platform("ascend910a").with_figures("few", gm_bytes=assumed(1 << 20, "B", "what if GM were small"))
    kernel = kernels.find("add")
    with pytest.raises(OutOfSpace, match=r"^b does not fit GM: needs 600000 bytes, available 448512;"):
        place(kernel, kernel.shape_type.of("add", {"n": 300_000}), None, Chip(few))


def test_chips_that_share_a_name_do_not_share_times():
    """The key of a task tells figures apart, not names alone."""
    base = platform("ascend910a")
    slow = base.with_figures("mine", vector_head_cycles=assumed(40, "cycles", "what if"))
    fast = base.with_figures("mine", vector_head_cycles=assumed(2, "cycles", "what if"))
    kernel = kernels.find("exp")
    shape = kernel.shape_type.of("exp", {"n": 1000})
    keys = [kernel.task(shape, {"x": 0, "y": 4096}, chip).key for chip in (slow, fast)]
    assert keys[0] != keys[1]
    assert slow.digest != fast.digest
