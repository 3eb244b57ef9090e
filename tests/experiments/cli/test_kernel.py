"""`davinci kernel` on other chips and engines, and what experiments are given of both."""

from __future__ import annotations

from pathlib import Path

import pytest

import kernels

MY_CHIP = Path(__file__).parents[3] / "docs" / "examples" / "my_chip.toml"
EXPERIMENT = """
from davinci_sim.chip import Chip
CLAIM = "the chip is the user's own"

def run(context):
    chip = Chip(context.platform, engine=context.engine)
    return {"ub_bytes": chip.platform.ub_bytes, "is_reference": float(chip.engine == "reference")}
"""
EXPECTED = """{
    "ub_bytes": {"expected": 131072, "tolerance": 0}, "is_reference": {"expected": 1, "tolerance": 0}
}"""


def test_the_list_tells_what_a_chip_refuses(answer):
    """The 310 has no division, which only fp32 can do without, and exponentials of fp16 only."""
    listing = answer("kernel", "list", "--platform", "ascend310")
    found = {each["name"]: each["on_platform"] for each in listing["kernels"]}
    assert listing["platform"] == "ascend310"
    assert found["exp"] == {"fp16": "", "fp32": "lacks vexp of fp32"}
    assert found["div"] == {"fp16": "lacks vdiv of fp16", "fp32": ""}


def test_what_a_chip_refuses_is_printed_by_types(davinci, monkeypatch):
    """Of one kernel here: a list of all emits each of them again."""
    monkeypatch.setattr(kernels, "load", lambda: {"log": kernels.find("log")})
    shown = davinci("kernel", "list", "--platform", "ascend310").stdout
    assert "fp32: lacks vln of fp32" in " ".join(shown.split())


def test_the_list_without_a_chip_tells_of_none(answer):
    listing = answer("kernel", "list")
    assert "platform" not in listing
    assert not any("on_platform" in each for each in listing["kernels"])


def test_a_kernel_runs_on_a_chip_of_the_users_own(answer):
    found = answer("kernel", "run", "exp", "--shape", "n=5000", "--platform", str(MY_CHIP))
    assert (found["platform"], found["ok"]) == ("my_chip", True)
    checked = answer("kernel", "check", "exp", "--shape", "n=5000", "--platform", str(MY_CHIP))
    assert (checked["platform"], checked["findings"]) == ("my_chip", [])


def test_a_kernel_that_the_chip_lacks_is_refused(refusal):
    message = refusal("kernel", "run", "div", "--shape", "n=10", "--platform", "ascend310")
    assert message.startswith(
        "kernel div of shape n=10,rows=1,pattern=0,dtype=fp16: ascend310 lacks vdiv of fp16\n"
    )


def test_the_tiling_that_is_told_is_the_one_that_fits(answer):
    """The default one would take more than the smallest chip has."""
    shape = ("--shape", "m=300,n=500", "--dtype", "fp32")
    found = answer("kernel", "run", "reduce_sum", *shape, "--platform", "ascend_tiny")
    assert (found["ok"], found["tiling"]["columns"] < 500) == (True, True)


def test_an_experiment_is_given_the_users_chip_and_engine(answer, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "experiment.py").write_text(EXPERIMENT)
    (folder / "expected.json").write_text(EXPECTED)
    where = ("--root", str(tmp_path), "--out", str(tmp_path / "out"))
    found = answer("experiment", "run", "mine", *where, "--platform", str(MY_CHIP), "--engine", "reference")
    assert found["ok"], found["metrics"]


@pytest.mark.parametrize("command", [("kernel", "run"), ("experiment", "run"), ("train",)])
def test_help_tells_of_both_engines(davinci, command):
    text = " ".join(davinci(*command, "--help").stdout.split())
    assert "--engine fast|reference" in text
    assert "Both give every instruction the same cycles." in text


@pytest.mark.parametrize(
    "command",
    [("experiment", "run", "demo"), ("train", "lenet5", "--data", "digits", "--device", "ascend910a")],
)
def test_an_unknown_engine_is_refused_before_any_work(refusal, command):
    assert refusal(*command, "--engine", "slow") == "unknown engine 'slow'; known: fast, reference"
