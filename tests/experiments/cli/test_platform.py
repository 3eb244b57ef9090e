"""`davinci platform`: the chips of the kit, and a user's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from davinci_sim.platforms import platform, platform_names

MY_CHIP = Path(__file__).parents[3] / "docs" / "examples" / "my_chip.toml"
PYTHON_CHIP = """
from davinci_sim.platforms import assumed, platform
mine = platform("ascend910a").with_figures("mine", ai_cores=assumed(1, "", "a what-if"),
    peak_fp16_flops=assumed(8.192e12, "FLOP/s", "a what-if"),
    peak_int8_ops=assumed(16.384e12, "OP/s", "a what-if"))
"""


def test_the_list_tells_the_chips_apart(davinci, answer):
    """Cores, clock, peak, L2 and memory bandwidth, as a table and as JSON."""
    found = {chip["name"]: chip for chip in answer("platform")["platforms"]}
    assert tuple(found) == platform_names()
    assert found["ascend310"] | {"description": ""} == {
        "name": "ascend310", "description": "", "cores": 2, "clock_hz": 0.68e9,
        "peak_fp16_flops": 11.14112e12, "l2_bytes": 8388608, "memory_bytes_per_s": 134 * 0.68e9,
    }  # fmt: skip
    text = davinci("platform").stdout
    assert [line.split()[:6] for line in text.splitlines() if line.split()[:1] == ["ascend910a"]] == [
        ["ascend910a", "32", "1.00", "262.1", "32", "1024"]
    ]


@pytest.mark.parametrize("name", platform_names())
def test_every_chip_can_be_shown(davinci, answer, name):
    """A chip of the kit has no base and overrides nothing."""
    found = answer("platform", name)
    assert (found["base"], found["overrides"]) == (None, {})
    assert set(found["figures"]) == set(platform(name).figures)
    assert "clock_hz" in davinci("platform", name).stdout


def test_the_effective_values_of_a_users_chip_are_echoed(davinci, answer):
    """What the file changes is marked, with what it was in the base."""
    found = answer("platform", MY_CHIP)
    assert (found["name"], found["base"]) == ("my_chip", "ascend910a")
    assert found["figures"]["ub_bytes"]["value"] == 131072
    assert found["figures"]["l1_bytes"]["value"] == 1048576
    assert found["overrides"] == {
        "hbm_bytes_per_cycle": {"value": 2048, "unit": "B/cycle", "base_value": 1024},
        "ub_bytes": {"value": 131072, "unit": "B", "base_value": 262144},
        "vector_cycles.vexp.fp16": {"value": 2, "unit": "cycles", "base_value": 4},
    }
    text = davinci("platform", MY_CHIP).stdout
    assert "* ub_bytes" in text
    assert "131072 (was 262144)" in text
    assert "* 2 (was 4)" in text


def test_a_mistake_in_a_file_is_one_message(refusal, tmp_path):
    """Exit code 2, nothing on standard output, no traceback."""
    file = tmp_path / "own.toml"
    file.write_text('base = "ascend910a"\n[figures]\nub_byte = 1\n')
    assert refusal("platform", file) == (
        f"{file}:3: ub_byte\n  rule: it is no figure of a chip: an unknown key would change nothing\n"
        "  next: did you mean ub_bytes or l0b_bytes or ub_bank_bytes?"
    )


def test_a_kernel_runs_on_a_users_chip(answer, tmp_path):
    """One core instead of 32, from a Python file."""
    file = tmp_path / "mine.py"
    file.write_text(PYTHON_CHIP)
    run = ("kernel", "run", "abs", "--shape", "n=100000", "--no-data", "--platform")
    assert answer(*run, file)["platform"] == "mine"
    assert answer(*run, file)["cycles"] > answer(*run, "ascend910a")["cycles"]


def test_the_help_says_that_python_is_run(davinci):
    """Who passes somebody else's file should know."""
    for command in (("platform",), ("kernel", "run")):
        assert "code and is run" in " ".join(davinci(*command, "--help").stdout.split())


def test_the_json_of_a_chip_is_one_object(davinci):
    """Also for a user's chip."""
    assert json.loads(davinci("platform", MY_CHIP, "--json").stdout)["name"] == "my_chip"
