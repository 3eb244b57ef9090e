"""`davinci kernel check`: what it answers, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

OWN = Path(__file__).with_name("own_kernels.py")


def test_a_kernel_without_findings_leaves_with_0(davinci):
    result = davinci("kernel", "check", "add", "--shape", "n=5000", "--dtype", "fp32", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert (answer["kernel"], answer["findings"]) == ("add", [])


def test_a_kernel_with_a_finding_leaves_with_1_and_tells_everything(davinci):
    """The kind, the lines, the records, the pipes, the bytes and the flag that is missing."""
    result = davinci("kernel", "check", f"{OWN}:racing", "--shape", "n=32", "--json")
    assert result.exit_code == 1
    findings = json.loads(result.stdout)["findings"]
    race = next(finding for finding in findings if finding["rule"] == "read-after-write")
    assert race["kind"] == "racecheck"
    assert race["flag"] == "flag(src=MTE2, dst=V)"
    assert race["pipes"] == ["MTE2", "V"]
    assert [Path(line.rpartition(":")[0]).name for line in race["source"]] == ["own_kernels.py"] * 2
    assert (race["bytes"]["space"], race["bytes"]["end"] - race["bytes"]["start"]) == ("UB", 128)
    assert "rule: a pipe must wait for what another pipe writes before it reads it" in race["message"]


def test_people_get_the_messages(davinci):
    result = davinci("kernel", "check", f"{OWN}:racing", "--shape", "n=32")
    assert result.exit_code == 1
    assert "racecheck: read-after-write" in result.stdout
    assert "findings: " in result.stdout


def test_a_deadlock_is_a_finding_and_no_error(davinci):
    result = davinci("kernel", "check", f"{OWN}:stuck", "--shape", "n=32", "--json")
    kinds = {finding["kind"] for finding in json.loads(result.stdout)["findings"]}
    assert (result.exit_code, "synccheck" in kinds) == (1, True)


def test_an_unknown_kernel_is_a_usage_error(davinci):
    result = davinci("kernel", "check", "ad", "--shape", "n=32")
    assert result.exit_code == 2


def test_the_help_says_what_each_checker_finds_and_how_to_go_on(davinci):
    result = davinci("kernel", "check", "--help")
    assert result.exit_code == 0
    for text in (
        "memcheck   bytes outside",
        "racecheck  reads",
        "initcheck  bytes",
        "synccheck  flags",
        "check=True",
    ):
        assert text in result.stdout
