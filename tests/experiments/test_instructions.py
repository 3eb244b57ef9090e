"""The experiment on single instructions: its points, its programs and what it calls an error."""

from __future__ import annotations

from pathlib import Path

import pytest

import experiments.instructions
from davinci_sim.core.program import parse
from davinci_sim.platforms import assumed, platform
from experiments.harness import load
from experiments.instructions.experiment import compare, metrics
from experiments.instructions.fit import figures
from experiments.instructions.programs import simulated, texts, vector
from experiments.instructions.tables import Comparison, Point, label_text, read_exceptions, read_tables

FOLDER = Path(experiments.instructions.__file__).parent
TABLES = read_tables()
CHIP = platform("ascend910b1")


@pytest.mark.parametrize(
    ("table", "label", "cycles"),
    [
        ("mmad_stream", 16, 4.86),  # 2 * 32 * 16 * 16 operations at 3369.81 a cycle
        ("l1_to_l0a", 1, 6.15),  # 1 KiB at 286.91 GiB/s and 1.85 GHz
        ("gm_to_l1", 1, 172.83),  # 176977 cycles for 1024 moves
        ("vector_one_source", "vexp fp32", 2),
        ("ub_banks", "no conflict", 86.04),  # 2390 ticks of 50 MHz for 1000 additions, at 1.8 GHz
    ],
)
def test_printed_units_become_cycles(table, label, cycles):
    """Throughput, bandwidth, totals, slopes and ticks."""
    value = dict(TABLES[table].points)[label]
    assert TABLES[table].cycles(label, value) == pytest.approx(cycles, abs=0.005)


def test_the_platform_holds_what_the_fit_finds():
    """A figure that says that it is fitted on the tables can be found again from them."""
    held = {key: CHIP.figure(key) for key in figures()}
    assert {key: figure.value for key, figure in held.items()} == figures()
    assert {figure.provenance for figure in held.values()} == {"fitted"}


def test_every_fitted_figure_is_named_by_its_table():
    """What is fitted is said, and half of the points are kept for judging."""
    named = {key for table in TABLES.values() for figure in table.fitted for key in figure.split(" + ")}
    assert named == {*figures(), "vector_drain_cycles"}
    for table in TABLES.values():
        kept = sum(not table.is_fitted(position) for position in range(len(table.points)))
        assert 2 * kept >= len(table.points)


def test_every_exception_is_a_point_and_argued_in_the_readme():
    """An exception names a table, a point of it, and why."""
    argued = (FOLDER / "README.md").read_text(encoding="utf-8")
    for (table, point), why in read_exceptions().items():
        assert point in {label_text(label) for label, _ in TABLES[table].points}
        assert len(why) > 40
    section = argued.partition("## The two exceptions")[2]
    assert section.count("\n1. ") + section.count("\n2. ") == len(read_exceptions())


@pytest.mark.parametrize("name", ["mmad_alone", "gm_to_ub", "ub_to_gm", "vector_two_sources", "ub_banks"])
def test_a_table_is_met_within_the_bounds(name):
    """5 % in the median of the judged points, 15 % at most."""
    found = compare(TABLES[name], read_exceptions())
    assert found.median_error <= 0.05
    assert found.largest_error <= 0.15


def test_another_head_is_noticed():
    """The simulated program feels the figures of the platform: a head of 400 cycles fails the table."""
    slow = CHIP.with_figures("slow", gm_to_l1_head_cycles=assumed(400, "cycles", "what if"))
    cycles = simulated(TABLES["gm_to_l1"], slow)
    assert cycles[0] == 400 + -(-1024 // int(CHIP.gm_to_l1_bytes_per_cycle))


def test_two_cycles_of_two_sources_come_from_the_banks():
    """The figure of an addition is one cycle a repeat; the tables' two are the conflict of its sources."""
    assert CHIP.vector_cycles("vadd", "fp16") == 1
    (cycles,) = simulated(_only(TABLES["vector_two_sources"], "vadd fp16"), CHIP)
    assert cycles == 2


def _only(table, label):
    """Return a table with one of its points."""
    from dataclasses import replace

    return replace(table, points=tuple(point for point in table.points if point[0] == label))


def test_fitted_points_do_not_judge_and_exceptions_do_not_count_as_largest():
    """The median leaves out what was fitted, the largest error what was argued."""
    points = (
        Point(1, 100, 110, is_fitted=False),
        Point(2, 100, 100, is_fitted=True),
        Point(3, 100, 200, is_fitted=False, exception="argued"),
    )
    found = Comparison(TABLES["gm_to_l1"], points)
    assert found.median_error == pytest.approx(0.55)
    assert found.largest_error == pytest.approx(0.1)
    assert metrics([found])["exceptions"] == 1


def test_a_conversion_reads_and_writes_without_gaps():
    """Half as wide a source moves half as far a repeat; the mask has as many lanes as the wider type."""
    text = vector("vconv fp16>fp32", 16)
    assert "src_rep=4" in text
    assert "dst_rep=8" in text
    assert "mask=0000000000000000ffffffffffffffff" in text


def test_every_point_has_a_program_that_parses():
    """What programs.txt shows is what is simulated."""
    for line in texts(TABLES.values()).splitlines():
        if line.startswith("  "):
            parse(line[line.index("PIPE_") :].replace("; ", "\n"))


def test_every_table_is_judged_by_the_expectations():
    """Two bounds for each table, and one for the number of exceptions."""
    expected = load("instructions").expected
    assert set(expected) == {
        *(f"{name}_{kind}_error" for name in TABLES for kind in ("median", "largest")),
        "exceptions",
    }
