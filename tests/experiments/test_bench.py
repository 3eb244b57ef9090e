"""The benchmarks: a number each, appended with machine and commit."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from davinci_sim.errors import UnknownName
from experiments.bench import command as bench
from experiments.bench import loops
from experiments.bench.registry import Benchmark


@pytest.fixture
def instant(monkeypatch):
    """Register a benchmark that takes no time and misses its bound."""
    each = Benchmark("instant", "s", lambda: 2.0, at_most=1.0)
    monkeypatch.setitem(bench.BENCHMARKS, "instant", each)


def test_numbers_are_appended_with_machine_and_commit(instant, tmp_path):
    out = tmp_path / "results" / "bench.jsonl"
    for _ in range(2):
        result = CliRunner().invoke(bench.bench, ["--only", "instant", "--out", str(out)])
        assert result.exit_code == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["numbers"] for line in lines] == [{"instant": {"value": 2.0, "unit": "s"}}] * 2
    assert {"machine", "commit", "versions", "when"} <= set(lines[0])


def test_a_missed_bound_is_shown_and_fails_nothing(instant, tmp_path):
    result = CliRunner().invoke(bench.bench, ["--only", "instant", "--out", str(tmp_path / "b")])
    assert "MISSED (at most 1)" in result.stdout
    assert result.exit_code == 0


def test_a_bound_from_below_is_kept_by_what_is_larger():
    each = Benchmark("quick", "1/s", lambda: 3.0, at_least=2.0)
    assert (each.verdict(3.0), each.verdict(1.0)) == ("met (at least 2)", "MISSED (at least 2)")


def test_an_unknown_benchmark_is_answered_with_the_nearest():
    result = CliRunner().invoke(bench.bench, ["--only", "emision"])
    assert isinstance(result.exception, UnknownName)
    assert str(result.exception).startswith("unknown benchmark 'emision': did you mean emission?")


def test_a_turn_of_a_loop_on_the_chip_takes_the_same_every_time():
    """The simulated time depends on the program only, and the host is not asked."""
    turn = loops.simulated_turn_of_a_loop_with_gradient()
    assert turn == loops.simulated_turn_of_a_loop_with_gradient() > 0
    assert loops.host_round_trips_of_a_loop_with_gradient() == 0


def test_every_benchmark_says_what_it_measures():
    assert [each.name for each in bench.BENCHMARKS.values() if not each.run.__doc__] == []
