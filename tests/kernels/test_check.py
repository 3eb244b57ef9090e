"""The checkers find nothing in any shipped kernel, and something in kernels that are wrong."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from davinci_sim.chip import Chip
from davinci_sim.core.checks import HazardsFound
from davinci_sim.isa import pipe_barrier
from davinci_sim.platforms import platform
from kernels.check import check
from kernels.run import random_inputs, run
from kernels.samples import odd_shapes
from tests.kernels import faulty

P = platform("ascend910a")


@pytest.mark.parametrize("name", kernels.load())
def test_no_shipped_kernel_has_a_finding(name):
    """Odd lengths, several types and shapes, the default tiling and another one of each."""
    kernel = kernels.find(name)
    for shape in odd_shapes(kernel):
        first = kernel.tiling_type.default(shape, P)
        others = (tiling for tiling in kernel.tiling_type.space(shape, P) if tiling != first)
        for tiling in filter(None, (first, next(others, None))):
            assert [str(finding) for finding in check(kernel, shape, P, tiling)] == []


def rules_of(kernel, n=5000):
    """Return the rules that a kernel of n numbers breaks."""
    return {finding.rule for finding in check(kernel, kernel.shape_type(n=n), P)}


def test_the_correct_twin_of_the_faulty_kernels_has_no_finding():
    assert rules_of(faulty.doubled) == set()


def test_a_hand_off_that_is_left_out_is_a_race():
    """Nothing tells V that the tile has arrived, nor MTE2 that it has been used."""
    found = check(faulty.unsynchronised, faulty.unsynchronised.shape_type(n=5000), P)
    (race,) = [finding for finding in found if finding.rule == "read-after-write"]
    assert (race.flag, race.pipes) == ("flag(src=MTE2, dst=V)", ("MTE2", "V"))
    assert all(line.startswith("faulty.py:") or "tests/kernels/faulty.py:" in line for line in race.source)
    assert "of ub (" in race.message


def test_a_copy_of_twice_the_length_leaves_its_buffer():
    assert "outside-buffer" in rules_of(faulty.too_long)


def test_a_buffer_that_is_only_half_filled_is_found_where_its_rest_reaches_the_output():
    assert "unwritten" in rules_of(faulty.half_filled)


def test_padding_that_is_computed_but_never_stored_is_no_finding():
    """37 numbers: the vector unit works on whole blocks of what the move brought and of what it did not."""
    assert rules_of(faulty.doubled, n=37) == set()


def test_a_flag_that_nobody_waits_for_is_found():
    assert "never-waited" in rules_of(faulty.unbalanced)


def test_barriers_within_a_pipe_are_put_where_they_are_needed():
    """The same kernel without them reads what has not arrived."""
    assert rules_of(faulty.chained) == set()
    assert rules_of(faulty.chained_without_barriers) == {"no-barrier"}


def test_the_barriers_that_are_put_stand_in_the_program():
    task = faulty.chained.emitted(faulty.chained.shape_type(n=64), {"x": 0, "y": 512}, P)
    ops = task.programs[0].words[:, 0] & 255
    assert int(np.sum(ops == pipe_barrier.instruction.opcode)) >= 1


def test_run_with_check_refuses_a_faulty_kernel():
    """Nothing is computed; the error tells every finding."""
    kernel = faulty.unsynchronised
    shape = kernel.shape_type(n=5000)
    with pytest.raises(HazardsFound, match="read-after-write") as error:
        run(kernel, shape, random_inputs(kernel, shape, 0), Chip(P), check=True)
    assert error.value.findings


def test_run_with_check_computes_a_kernel_without_findings():
    kernel = faulty.doubled
    shape = kernel.shape_type(n=500)
    inputs = random_inputs(kernel, shape, 0)
    outputs, _ = run(kernel, shape, inputs, Chip(P), check=True)
    assert np.array_equal(outputs["y"], inputs["x"] + inputs["x"])
