"""`davinci simulate`: what it answers and prints, and how it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from davinci_sim.platforms import platform
from experiments.cli.metrics import SIMULATE
from framework.graph_engine.options import SWITCHES
from framework.graph_engine.service.fusion import ALL

LENET = ("simulate", "lenet5", "--batch", "2")
SPREAD_MB = 2
"""How far apart a chip without data places tensors."""
SMALL_CHIP = """
base = "ascend910a"
name = "small_chip"
description = "a 910A with hardly any device memory"
[figures]
gm_bytes = { value = 2000000, unit = "B", provenance = "assumed", source = "to be too small" }
"""


@pytest.fixture(scope="module")
def trained():
    """Return what a training step of LeNet-5 answers, and what is on standard error."""
    from click.testing import CliRunner

    from experiments.cli.main import cli

    result = CliRunner().invoke(cli, [*LENET, "--json", "--steps", "10"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


def test_every_promised_key_is_there(trained):
    found, errors = trained
    assert {
        "model", "platform", "mode", "batch", "step_ms", "samples_per_s", "tasks", "instructions", "cycles",
        "wall_s", "peak_rss_mb", "device_memory_mb", "ops", "host_round_trips", "simulated_tasks",
    } <= set(found)  # fmt: skip
    assert {"name", "type", "shapes", "dtype", "us", "bound", "fused"} <= set(found["ops"][0])
    assert (found["model"], found["platform"], found["mode"], found["batch"]) == (
        "lenet5", "ascend910a", "graph", 2,
    )  # fmt: skip
    assert (found["host_round_trips"], found["elsewhere"], errors) == (0, [], "")


def test_the_tasks_sum_to_the_step(trained):
    found, _ = trained
    assert sum(each["own_us"] for each in found["ops"]) == pytest.approx(found["cycles"] / 1e3)
    assert all(each["own_us"] <= each["us"] + 1e-6 for each in found["ops"])
    assert sum(each["share"] for each in found["classes"]) == pytest.approx(1)
    assert sum(each["instructions"] for each in found["ops"]) == found["instructions"]
    assert found["step_ms"] == pytest.approx(found["cycles"] / 1e6)
    assert found["samples_per_s"] == pytest.approx(2e3 / found["step_ms"])


def test_fused_operators_are_told(trained):
    found, _ = trained
    fused = [each["fused"] for each in found["ops"]]
    assert ["matmul", "bias_add", "relu"] in fused
    assert "matmul+bias_add+relu" in [each["name"] for each in found["classes"]]


def test_a_sink_loop_calls_the_host_once(trained):
    """Transfers of the next inputs run beside the steps; the first one and the call do not."""
    found, _ = trained
    loop, link = found["sink_loop"], platform("ascend910a").host_link_bytes_per_cycle
    transfer = -(-(2 * 32 * 32 * 4 + 2 * 4 + 4) // link) / 1e6
    assert loop["transfer_ms"] == pytest.approx(transfer)
    assert loop["host_call_ms"] == pytest.approx(0.01)
    assert loop["ms"] == pytest.approx(10 * found["step_ms"] + 0.01)
    assert loop["hidden_ms"] == pytest.approx(10 * transfer)


def test_op_by_op_takes_the_host_for_every_task(trained, answer):
    found = answer(*LENET, "--mode", "op-by-op")
    assert found["fusion"] is False
    assert not any(each["fused"] for each in found["ops"])
    assert found["step_ms"] >= 0.01 * found["tasks"] > trained[0]["step_ms"]
    assert found["sink_loop"]["prefetch"] is False


def test_optimisations_can_be_switched_off_one_by_one(trained, answer):
    plain = answer(*LENET, "--no-fusion")
    assert (plain["fusion"], plain["tasks"] > trained[0]["tasks"]) == (False, True)
    spread = answer(*LENET, "--without", "reuse")
    assert spread["memory_mb"]["workspace"] == spread["memory_mb"]["without_reuse"]
    assert trained[0]["memory_mb"]["workspace"] < spread["memory_mb"]["workspace"]


def test_a_fusion_can_be_left_out_by_name(trained, answer):
    kept = {tuple(each["fused"]) for each in trained[0]["ops"]}
    left = {tuple(each["fused"]) for each in answer(*LENET, "--without", "matmul_bias")["ops"]}
    assert (("matmul", "bias_add") in kept, ("matmul", "bias_add") in left) == (True, False)
    assert ("conv2d", "relu") in kept & left


def test_a_configuration_can_be_changed(answer):
    found = answer("simulate", "bert", "--infer", "--config", "small", "--set", "layers=1", "--batch", "1")
    assert (found["config"]["layers"], found["config"]["hidden"], found["training"]) == (1, 64, False)


def test_people_get_tables_memory_and_a_headline(davinci, tmp_path):
    trace = tmp_path / "step.json"
    done = davinci(*LENET, "--steps", "3", "--trace", trace)
    lines = done.stdout.splitlines()
    assert done.exit_code == 0, done.output
    order = [
        "operator",
        "conv2d+relu",
        "step ",
        "slowest of ",
        "memory   ",
        "program  ",
        "took     ",
        "loop ",
    ]
    places = [done.stdout.index(part) for part in order]
    assert places == sorted(places)
    assert lines[-1].startswith("lenet5, training, batch 2, graph, on ascend910a: ")
    events = json.loads(trace.read_text())["traceEvents"]
    assert "conv2d.2" in [event["name"] for event in events]


def test_models_are_listed(davinci, answer):
    rows = {row["name"]: row for row in answer("simulate", "--list")["models"]}
    assert rows["bert"] == {
        "name": "bert", "configs": ["large", "base", "small"], "batch": 96,
        "about": "BERT: a transformer that learns language from text with holes",
    }  # fmt: skip
    assert "resnet50" in davinci("simulate", "--list").stdout


def test_help_tells_the_formula_of_every_metric(davinci):
    text = " ".join(davinci("simulate", "--help").stdout.split())
    for name, formula in SIMULATE.items():
        assert f"{name} {formula}" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lenet",), "unknown model 'lenet': did you mean lenet5 or resnet50? Known: bert, lenet5, resnet50"),
        (("bert", "--config", "lage"),
         "unknown configuration of bert 'lage': did you mean large? Known: base, large, small"),
        (("bert", "--set", "layer=2"),
         "unknown size of bert 'layer': did you mean layers? Known: compute_dtype, dropout, eps, heads, "
         "hidden, intermediate, layers, positions, predictions, seed, sequence, types, vocabulary"),
        (("bert", "--set", "layers=two"), "layers=two: it must be a whole number; now it is 24"),
        (("resnet50", "--set", "stages=3-x"),
         "stages=3-x: it must be whole numbers like 3-4-6-3; now it is (3, 4, 6, 3)"),
        (("lenet5", "--mode", "eager"), "unknown mode 'eager'; known: graph, op-by-op"),
        (("lenet5", "--precision", "fp16"),
         "unknown precision 'fp16'; known: force_fp16, keep, mixed"),
        (("lenet5", "--fusions", "real2"),
         "unknown set of fusions 'real2': did you mean real? Known: all, none, real"),
        (("lenet5", "--without", "format"),
         "unknown optimisation or fusion 'format': did you mean formats? Known: "
         f"{len({*SWITCHES, *ALL})} names: fusion, formats, counters, reuse, blocks, streams and those of "
         "docs/reference/fusions.md"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_refused_before_the_work(refusal, arguments, message):
    assert refusal("simulate", *arguments) == message


def test_a_model_or_a_list_must_be_asked_for(davinci):
    for arguments in ((), ("lenet5", "--list"), ("--list", "--from", ".")):
        result = davinci("simulate", *arguments)
        assert (result.exit_code, "give one of: MODEL, --list, --from DIR" in result.stderr) == (2, True)


def test_a_batch_that_does_not_fit_is_told_with_the_tensors_that_need_most(refusal, tmp_path):
    chip = tmp_path / "small.toml"
    chip.write_text(SMALL_CHIP)
    message = refusal("simulate", "lenet5", "--batch", "32", "--no-fusion", "--platform", chip)
    first, fixed, _, *lines = message.split("\n")
    assert first.startswith("graph train_LeNet5 needs ")
    assert first.endswith(" bytes of device memory, 2,000,000 are available")
    assert fixed == "  variables and constants: 589,824 bytes"
    workspace = next(number for number, line in enumerate(lines) if line.startswith("  workspace: "))
    assert "1,605,632  %" in lines[workspace + 1]
    assert lines[-1].startswith("  next: use a smaller batch, or recompute()")


def test_tensors_lie_close_where_they_would_not_fit_otherwise(answer, tmp_path):
    """A chip that only tells time spreads tensors for its memory of times, but not beyond what there is."""
    chip = tmp_path / "small.toml"
    chip.write_text(SMALL_CHIP.replace("2000000", "8000000"))
    found = answer("simulate", "lenet5", "--infer", "--batch", "2", "--no-fusion", "--platform", chip)
    assert len(found["ops"]) * SPREAD_MB > 8 > found["device_memory_mb"]


def test_a_dump_is_written_and_told_again(davinci, answer, refusal, tmp_path):
    """What was simulated can be read without simulating; a damaged dump is refused."""
    folder = tmp_path / "steps"
    written = answer(*LENET, "--dump", folder)
    assert answer("simulate", "--from", folder) == written
    told = davinci("simulate", "--from", folder).stdout
    assert told.splitlines()[-1].startswith("lenet5, training, batch 2, graph, on ascend910a: ")
    (folder / "result.json").write_text("{}")
    assert "result.json is damaged: its SHA-256 is " in refusal("simulate", "--from", folder)


def test_options_of_a_simulation_are_refused_where_there_is_none(davinci, tmp_path):
    for asked in (("--list",), ("--from", tmp_path)):
        result = davinci("simulate", *asked, "--batch", "3")
        assert result.exit_code == 2
        assert "Error: --batch is for a MODEL, not for --list or --from" in result.stderr


def test_a_full_standard_output_is_told(refusal, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("experiments.cli.simulated.show_models", full)
    assert refusal("simulate", "--list").startswith("cannot write standard output: No space left on device; ")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_reader_that_has_left_is_no_mistake(form):
    """As in `davinci simulate --list | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = (sys.executable, "-m", "experiments.cli.main", "simulate", "--list", *form)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("option", ["--trace", "--dump"])
def test_a_place_that_cannot_be_written_is_found_out_before_the_work(refusal, tmp_path, option):
    below_a_file = tmp_path / "file" / "out"
    (tmp_path / "file").write_text("")
    assert refusal(*LENET, option, below_a_file) == (
        f"cannot write {below_a_file}: Not a directory; choose another folder or change its permissions"
    )
