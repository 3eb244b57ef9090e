"""Experiments: found, run, judged, reported."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

EXPERIMENT = """
    CLAIM = "two doubles one"

    def run(context):
        with context.artifact("plots/line.txt").open("w") as file:
            file.write("1 2")
        context.say("working")
        return {"ratio": 2.04 if context.quick else 2.0, "seed": context.seed}
"""
EXPECTED = {"_meta": {"why": "for people"}, "ratio": {"expected": 2.0, "tolerance": 0.01}}


@pytest.fixture
def root(tmp_path) -> Path:
    """Make a folder with one experiment called doubling."""
    write(tmp_path / "root", "doubling", EXPERIMENT, EXPECTED)
    return tmp_path / "root"


def write(root: Path, name: str, code: str, expected: object) -> None:
    """Write an experiment."""
    (root / name).mkdir(parents=True)
    (root / name / "experiment.py").write_text(textwrap.dedent(code))
    (root / name / "expected.json").write_text(
        expected if isinstance(expected, str) else json.dumps(expected)
    )


def test_experiments_are_listed_with_their_claims(davinci, answer, root):
    listed = answer("experiment", "list", "--root", root)
    assert listed == {"experiments": [{"name": "doubling", "claim": "two doubles one", "metrics": ["ratio"]}]}
    assert davinci("experiment", "list", "--root", root).stdout == "doubling  two doubles one\n"


def test_the_kits_own_experiments_can_all_be_loaded(answer):
    assert isinstance(answer("experiment", "list")["experiments"], list)


def test_an_experiment_that_meets_its_expectation_says_ok(davinci, root, tmp_path):
    out = tmp_path / "out"
    result = davinci("experiment", "run", "doubling", "--root", root, "--out", out)
    assert result.exit_code == 0
    assert result.stdout == (
        "ok   ratio = 2 (expected 2 +/- 1%): two doubles one\n"
        "     seed = 0\n"
        f"results: {out}/plots/line.txt, {out}/report.json\n"
    )
    assert result.stderr == "working\n"


def test_an_experiment_that_misses_its_expectation_says_fail_and_exits_with_1(davinci, root, tmp_path):
    result = davinci("experiment", "run", "doubling", "--root", root, "--out", tmp_path, "--quick")
    assert result.exit_code == 1
    assert result.stdout.startswith("FAIL ratio = 2.04 (expected 2 +/- 1%): two doubles one\n")


def test_json_has_the_promised_keys(answer, root, tmp_path):
    found = answer("experiment", "run", "doubling", "--root", root, "--out", tmp_path / "o", "--seed", 7)
    assert (found["name"], found["ok"]) == ("doubling", True)
    assert found["metrics"]["ratio"] == {
        "value": 2.0, "expected": 2.0, "tolerance": 0.01, "kind": "relative", "ok": True,
    }  # fmt: skip
    assert found["metrics"]["seed"]["value"] == 7
    assert found["artifacts"] == [str(tmp_path / "o" / name) for name in ("plots/line.txt", "report.json")]


def test_the_report_names_platform_and_versions(answer, root, tmp_path):
    answer("experiment", "run", "doubling", "--root", root, "--out", tmp_path, "--quick", code=1)
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["ok"], report["quick"], report["platform"]) == (False, True, "ascend910a")
    assert {"python", "numpy"} <= set(report["versions"])
    assert [path.name for path in tmp_path.glob("*.part")] == []


@pytest.mark.parametrize("quick", [False, True])
def test_the_quick_variant_may_be_expected_to_do_otherwise(davinci, tmp_path, quick):
    expected = {"ratio": {"expected": 2.0, "tolerance": 0.0, "quick": {"expected": 2.04}}}
    write(tmp_path, "both", EXPERIMENT, expected)
    flags = ["--quick"] if quick else []
    assert (
        davinci("experiment", "run", "both", "--root", tmp_path, "--out", tmp_path / "o", *flags).exit_code
        == 0
    )


def test_a_metric_that_is_expected_and_missing_fails(davinci, tmp_path):
    write(tmp_path, "lazy", "CLAIM = 'x'\ndef run(context): return {}\n", EXPECTED)
    result = davinci("experiment", "run", "lazy", "--root", tmp_path, "--out", tmp_path / "o")
    assert result.exit_code == 1
    assert result.stdout.startswith("FAIL ratio = missing (expected 2 +/- 1%): x\n")


@pytest.mark.parametrize(
    ("entry", "value", "ok"),
    [
        ({"expected": 10, "tolerance": 0.1}, 11, True),
        ({"expected": 10, "tolerance": 0.1}, 11.1, False),
        ({"expected": 10, "tolerance": 0.1, "kind": "absolute"}, 10.2, False),
        ({"expected": 0.97, "kind": "at_least"}, 0.97, True),
        ({"expected": 0.97, "kind": "at_least"}, 0.96, False),
        ({"expected": 5, "kind": "at_most"}, 4, True),
        ({"expected": 5, "kind": "at_most"}, 5.1, False),
        ({"expected": 5, "kind": "at_most"}, float("nan"), False),
    ],
)
def test_each_kind_of_tolerance_is_judged(tmp_path, entry, value, ok):
    from experiments.expectation import judge, read_expectations

    path = tmp_path / "expected.json"
    path.write_text(json.dumps({"x": entry}))
    assert judge({"x": value}, read_expectations(path), quick=False)["x"].ok is ok


def test_a_folder_that_cannot_be_written_is_found_out_before_the_work(refusal, tmp_path):
    write(
        tmp_path,
        "careless",
        "CLAIM = 'x'\ndef run(context): raise SystemError('the work started')\n",
        EXPECTED,
    )
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "results"
    message = refusal("experiment", "run", "careless", "--root", tmp_path, "--out", out)
    assert message == f"cannot write {out}: Not a directory; choose another folder or change its permissions"


@pytest.mark.parametrize(
    ("code", "expected", "message"),
    [
        ("def run(context): return {}", EXPECTED, "experiment e: its experiment.py has no CLAIM"),
        ("CLAIM = 'x'", EXPECTED, "experiment e: its experiment.py has no run"),
        (EXPERIMENT, {"x": {"expected": 1, "kind": "relativ"}},
         "unknown kind of x in expected.json 'relativ': did you mean relative? "
         "Known: absolute, at_least, at_most, relative"),
        (EXPERIMENT, {"x": 3}, '{path}: x is 3; write {{"expected": 1.15, "tolerance": 0.02}}'),
        (EXPERIMENT, {"x": {"tolerance": 3}},
         '{path}: x needs numbers "expected" and "tolerance", it has {{\'tolerance\': 3}}'),
        (EXPERIMENT, "no json", "{path} is no JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)  # fmt: skip
def test_an_experiment_that_is_not_complete_is_refused(refusal, tmp_path, code, expected, message):
    write(tmp_path, "e", code, expected)
    text = refusal("experiment", "run", "e", "--root", tmp_path, "--out", tmp_path / "o")
    assert text == message.format(path=tmp_path / "e" / "expected.json")


def test_an_unknown_experiment_is_answered_with_the_nearest(refusal, root):
    assert refusal("experiment", "run", "dubling", "--root", root) == (
        "unknown experiment 'dubling': did you mean doubling? Known: doubling"
    )


def test_an_artifact_stays_inside_the_results(refusal, tmp_path):
    write(tmp_path, "roaming", "CLAIM = 'x'\ndef run(context): context.artifact('../x')\n", EXPECTED)
    out = tmp_path / "o"
    message = refusal("experiment", "run", "roaming", "--root", tmp_path, "--out", out)
    assert message == f"artifact '../x' would lie outside of {out}; use a name without .."
