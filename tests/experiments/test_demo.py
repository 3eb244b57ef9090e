"""The comparison with the published profile draws ratios only from operators that do the same."""

import numpy as np

from davinci_sim.platforms import platform
from experiments.demo.comparison import Row, note, totals
from experiments.operators.judge import is_fitted
from experiments.operators.records import read_published
from framework.graph_engine.control.profile import OpTime


def ours(us: float) -> OpTime:
    """Return an operator of ours that takes `us`."""
    return OpTime("op", "op", "kernel", "1 -> 1", "float32", "ND", int(us * 1000), us, 1, "start")


def test_the_published_profile_has_its_66_records():
    """As many as the profile of one step of LeNet-5 lists."""
    assert len(read_published("lenet5")) == 66


def test_untiled_products_and_fused_kernels_give_no_ratio_to_the_totals():
    """Each published operator is paired with one of ours of twice its time: only like ones are added up."""
    records = read_published("lenet5")
    sums = totals([Row(ours(2 * record.us), record) for record in records])
    alike = [record for record in records if not note(record)]
    assert {r.op for r in records if note(r) and not is_fitted(r)} == {
        "MatMul", "ReluV2", "FusionOp_ReluGradV2_Cast", "SoftmaxCrossEntropyWithLogits",
    }  # fmt: skip
    assert sums["paired_operators"] == len(alike)
    assert abs(sums["paired_total_ratio"] - 2) < 1e-12
    assert abs(sums["paired_median_ratio"] - 2) < 1e-12


def test_the_start_of_a_block_is_the_slope_of_a_line_through_small_records():
    """The figure of the chip is what these records give; they give no ratio."""
    fitted = [each for each in read_published("lenet5") if is_fitted(each)]
    slope_us, _ = np.polyfit([each.blocks for each in fitted], [each.us for each in fitted], 1)
    chip = platform("ascend910a")
    assert round(slope_us * 1e-6 * chip.clock_hz) == chip.block_start_cycles
    assert len(fitted) == 18
    assert all(note(each) for each in fitted)
