"""`davinci kernel profile` and `davinci kernel compare`: what they print, write and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from davinci_sim.trace.ledger.causes import CAUSES
from experiments.cli.metrics import COMPARE, PROFILE, RUN
from tests.experiments.conftest import OWN_KERNELS

SHAPE = "m=64,k=96,n=80"
OWN = f"{OWN_KERNELS}:double"
AXPY = f"{Path(__file__).parents[3] / 'docs' / 'examples' / 'axpy.py'}:axpy"


def test_a_profile_accounts_for_every_cycle(answer):
    found = answer("kernel", "profile", "matmul", "--shape", SHAPE)
    book = found["ledger"]
    for core in book["table"]:
        assert [sum(column) for column in core] == [found["cycles"]] * len(book["pipes"])
    assert found["cycles"] == answer("kernel", "run", "matmul", "--shape", SHAPE, "--no-data")["cycles"]
    assert {"bounds", "roofline", "use", "lines", "advice", "what_if", "tiling", "limiting_pipe"} <= set(
        found
    )
    assert (
        found["bounds"]["cycles"] <= found["roofline"]["bound_cycles"] or found["bounds"]["capacity_cycles"]
    )


def test_bounds_come_first_and_then_tables_lines_and_advice(davinci):
    text = davinci("kernel", "profile", AXPY, "--shape", "n=100000", "--tiling", "tile=512").stdout
    order = ["no faster than", "tiling tile=", "time ", "at work: ", "share of the time", "ends last"]
    order += [
        "source lines",
        "docs/examples/axpy.py:",
        "critical path of core",
        "flags waited for",
        "on a machine with",
        "\n- ",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "sum" in text


def test_bounds_are_printed_before_anything_is_emitted(davinci, monkeypatch):
    """A kernel that cannot be emitted has been told its bounds."""
    result = davinci("kernel", "profile", f"{OWN_KERNELS}:misplaced", "--shape", "n=8")
    assert result.exit_code == 2
    assert "no faster than" in result.stdout
    assert "rule: the move must go one of the ways" in result.stderr


def test_a_users_kernel_has_its_own_lines(answer):
    found = answer("kernel", "profile", OWN, "--shape", "n=64", "--no-advice")
    assert all("own_kernels.py:" in line["source"] for line in found["lines"])
    assert any(line["text"].startswith("flat_binary(") for line in found["lines"])
    assert found["advice"] == []


@pytest.mark.parametrize(("command", "metrics"), [("run", RUN), ("profile", PROFILE), ("compare", COMPARE)])
def test_help_tells_the_formula_of_every_metric(davinci, command, metrics):
    text = " ".join(davinci("kernel", command, "--help").stdout.split())
    for name, formula in metrics.items():
        assert f"{name} {formula}" in text


def test_help_tells_what_every_cause_means(davinci):
    text = " ".join(davinci("kernel", "profile", "--help").stdout.split())
    for cause in CAUSES:
        assert f"{cause.name} {cause.meaning}" in text


def test_trace_and_tables_are_written(davinci, tmp_path):
    run = ("kernel", "profile", OWN, "--shape", "n=64", "--no-advice")
    result = davinci(*run, "--trace", tmp_path / "trace.json", "--csv", tmp_path / "tables")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [
        "core0_code_exe.csv", "core0_instr_exe.csv", "op_summary.csv",
    ]  # fmt: skip


def test_two_tilings_are_compared_term_by_term(answer):
    """The terms of every pipe sum to the difference of the times, exactly."""
    tilings = ("--tiling", "tile=512", "--tiling", "tile=1024")
    found = answer("kernel", "compare", AXPY, "--shape", "n=100000", *tilings)
    assert found["cycles"] == found["other"]["cycles"] - found["one"]["cycles"] != 0
    assert [sum(terms.values()) for terms in found["terms"].values()] == [found["cycles"]] * 6
    assert "tile=512" in found["one"]["tiling"]


def test_one_tiling_is_compared_with_the_default(davinci):
    text = davinci("kernel", "compare", AXPY, "--shape", "n=100000", "--tiling", "tile=512").stdout
    assert text.count(" cycles, ") == 2
    assert "  sum " in text
    assert "tile=8192" in text.splitlines()[0]
    assert "tile=512" in text.splitlines()[-1]


@pytest.mark.parametrize(
    "options",
    [
        ("add", "mul", "--shape", "n=5000"),
        ("add", "--shape", "n=5000", "--platform", "ascend910a", "--platform", "ascend310"),
        ("add", "--shape", "n=5000", "--shape", "n=9000", "--pipe", "V"),
        ("add", "--shape", "n=5000", "--dtype", "fp16", "--dtype", "fp32"),
    ],
)
def test_kernels_chips_shapes_and_types_are_compared(answer, options):
    found = answer("kernel", "compare", *options)
    assert found["one"] != found["other"]
    assert sum(found["terms"][found["pipe"]].values()) == found["cycles"]


def test_a_comparison_of_nothing_is_refused(refusal):
    assert refusal("kernel", "compare", "add", "--shape", "n=5000").endswith(
        "there is nothing to compare; give two names, or --tiling, or one of --shape, --dtype and --platform "
        "twice"
    )
    three = ("--shape", "n=1", "--shape", "n=2", "--shape", "n=3")
    assert refusal("kernel", "compare", "add", *three).endswith(
        "two launches are compared; n=1 and n=2 and n=3 are 3"
    )


def test_an_unknown_pipe_is_refused(refusal):
    tiling = ("--shape", "n=5000", "--tiling", "slots=1", "--pipe", "MTE4")
    assert refusal("kernel", "compare", "add", *tiling) == (
        "unknown pipe 'MTE4': did you mean MTE3 or MTE2 or MTE1? Known: M, MTE1, MTE2, MTE3, S, V"
    )
