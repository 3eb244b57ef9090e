"""The experiment on operators: its records, which kernels cover them, and which of them count."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from davinci_sim.chip import Chip
from davinci_sim.platforms import platform
from experiments.harness import load
from experiments.operators.cover import NOT_COVERED, RULES, Covered, cover, launch
from experiments.operators.judge import Row, is_fitted, is_poor, metrics, of_kinds, rank_correlation
from experiments.operators.records import Record, Tensor, read_published
from experiments.operators.timing import Bench

P = platform("ascend910a")
RECORDS = read_published()


def record(op: str, *inputs: str, out: str, us: float = 100.0) -> Record:
    """Return a record of a test."""
    return Record("op", "test", op, tuple(map(Tensor.of, inputs)), (Tensor.of(out),), us)


def text(found: Record) -> str:
    """Return what covers a record."""
    return str(cover(found))


def test_all_records_are_there_once():
    """66 of LeNet-5, 105 of Wide & Deep, 38 of ResNet-50."""
    assert [len(read_published(name)) for name in ("lenet5", "wide_and_deep", "resnet50")] == [66, 105, 38]
    assert len({each.id for each in RECORDS}) == 209


def test_an_operator_is_covered_by_a_rule_or_says_why_not():
    """And never both."""
    assert {each.op for each in RECORDS} <= set(RULES) | set(NOT_COVERED)
    assert not set(RULES) & set(NOT_COVERED)
    assert all(cover(each).launches or cover(each).reason for each in RECORDS)


@pytest.mark.parametrize("each", RECORDS, ids=lambda each: each.id)
def test_a_convolution_of_the_kit_has_the_tensors_of_the_record(each):
    """The axes that were added to the profile's tensors give these tensors again."""
    if each.attributes:
        found = cover(each).launches[0]
        operands = found.kernel.operands(
            replace(found.shape, splits=1) if "splits" in found.shape.names() else found.shape
        )
        elements = [operand.nbytes // operand.device_dtype.numpy.itemsize for operand in operands]
        assert sorted(elements) == sorted(t.size for t in (*each.inputs, *each.outputs))


def test_second_inputs_are_numbers_rows_or_columns():
    """Told by the tensors alone."""
    a = "16000x39x64:ND:FLOAT32"
    row = record("Mul", a, "64:ND:FLOAT32", out=a)
    column = record("Mul", "16000x39:ND:FLOAT32", "16000x2496:ND:FLOAT32", out=a)
    number = record("Mul", "scalar:ND:FLOAT32", a, out=a)
    tail = "dtype=fp32"
    assert text(row) == f"mul n=39936000,rows=624000,pattern=2,{tail}"
    assert text(column) == f"mul n=39936000,rows=624000,pattern=3,{tail}"
    assert text(number) == f"mul n=39936000,rows=1,pattern=1,{tail}"


def test_transposed_operands_are_told_by_their_rows():
    """c[16000, 2496] of a[16000, 1024] and b[2496, 1024]."""
    found = record(
        "MatMul", "64x1000x16x16:FRACTAL_NZ:FLOAT16", "64x156x16x16:FRACTAL_NZ:FLOAT16",
        out="156x1000x16x16:FRACTAL_NZ:FLOAT32",
    )  # fmt: skip
    shape = cover(found).launches[0].shape
    assert (shape.m, shape.k, shape.n, shape.trans_a, shape.trans_b) == (16000, 1024, 2496, 0, 1)


def product(us: float) -> Covered:
    """Return a product of 1024 x 1024 x 1024 that took so long."""
    a = "64x64x16x16:FRACTAL_NZ:FLOAT16"
    return cover(record("MatMul", a, a, out=a, us=us))


def test_a_kernel_is_poor_below_a_quarter_of_memory_and_cube():
    """2.1 GFLOP take 8.2 us at the peak: poor from 32.8 us on, unless it moved a quarter of 1.2 TB/s."""
    least = 1024**3 / (4096 * 32) / 1000
    assert not is_poor(product(4 * least - 0.1), P)
    assert is_poor(product(4 * least + 0.1), P)
    big = "8192x8192:ND:FLOAT32"
    seconds = 3 * 8192**2 * 4 / (int(P.hbm_bytes_per_cycle) * float(P.clock_hz))
    stream = record("Mul", big, big, out=big, us=1e6 * seconds)
    assert not is_poor(cover(replace(stream, us=3.9 * stream.us)), P)
    assert is_poor(cover(replace(stream, us=4.1 * stream.us)), P)


def test_short_records_are_never_poor():
    assert not is_poor(product(20.0), replace_peak())


def replace_peak():
    """Return a chip whose cube is a thousand times wider, beside which all kernels are poor."""
    from davinci_sim.platforms import assumed

    return P.with_figures("wide", ai_cores=assumed(32000, "", "what if"))


def test_records_that_a_constant_was_fitted_on_do_not_count():
    """Also where they would be long enough."""
    small = record("Relu", "100:ND:FLOAT32", out="100:ND:FLOAT32")
    assert is_fitted(small)
    assert of_kinds([Row(cover(small), {"cold": 1.0})], ["element-wise"]) == []


def row(us: float, simulated: float, op: str = "Mul") -> Row:
    """Return a long element-wise row."""
    a = "1000000:ND:FLOAT32"
    return Row(cover(record(op, a, a, out=a, us=us)), {"cold": simulated})


def test_errors_are_parts_of_the_published_time():
    """Half and twice the time are 50 % and 100 % away."""
    found = metrics([row(100, 50), row(100, 200), row(100, 110)], "cold")
    assert found["median_error_streams"] == 0.5
    assert math.isnan(found["median_error_products"])
    assert (found["records"], found["covered"], found["poor"]) == (3, 3, 0)


def test_ranks_do_not_know_scales():
    """Ten times as slow in the same order is a correlation of 1."""
    assert rank_correlation([row(us, 10 * us) for us in (30, 50, 90, 70)], "cold") == pytest.approx(1)


def test_launches_of_one_operator_share_tensors_of_the_same_name():
    """The second launch reads what the first one wrote."""
    bench = Bench(Chip("ascend910a"))
    first, second = bench.tasks([launch("relu", {"n": 100}, "fp32"), launch("exp", {"n": 100}, "fp32")])
    assert first.operands == second.operands


def test_a_reduction_in_two_launches_reads_what_the_first_one_wrote():
    """Sums over the first axis are cut into parts for all cores."""
    found = cover(record("BiasAddGrad", "16000x128:ND:FLOAT32", out="128:ND:FLOAT32")).launches
    first, second = Bench(Chip("ascend910a")).tasks(found)
    assert first.operands["y"] == second.operands["x"]
    assert len({first.operands["x"], first.operands["y"], second.operands["y"]}) == 3


def test_the_claims_are_those_of_the_readme():
    """15 % of streams, 25 % of products, a correlation of 0.95."""
    expected = load("operators").expected
    found = {name: (each.whole.expected, each.whole.kind) for name, each in expected.items() if each.whole}
    assert found == {
        "median_error_streams": (0.15, "at_most"),
        "median_error_products": (0.25, "at_most"),
        "rank_correlation": (0.95, "at_least"),
    }
