"""The command line: what it answers, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from davinci_sim.platforms import platform

ROOT = Path(__file__).parents[2]
OWN = Path(__file__).with_name("own_kernels.py")
SHOWN = "tests/experiments/own_kernels.py"  # as messages print it: from the root of the repository
PIPES = {"V", "M", "MTE1", "MTE2", "MTE3"}
SMALL = "m=20,k=30,n=40"


def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `davinci` in a process of its own."""
    command = [sys.executable, "-m", "experiments.cli.main", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_loads_nothing_heavy():
    code = (
        "import sys, click.testing; from experiments.cli.main import cli;"
        "click.testing.CliRunner().invoke(cli, ['--help']);"
        "heavy = ('numpy', 'numba', 'rich', 'simpy', 'matplotlib', 'framework');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "command",
    [(), ("platform",), ("kernel",), ("kernel", "list"), ("kernel", "run"), ("kernel", "check"), ("train",),
     ("experiment",), ("experiment", "list"), ("experiment", "run")],
)  # fmt: skip
def test_every_help_shows_an_example(davinci, command):
    result = davinci(*command, "--help")
    assert result.exit_code == 0
    assert "Examples:\n    davinci " in result.stdout


def test_standard_output_holds_one_object_and_nothing_else():
    done = shell("kernel", "run", f"{OWN}:double", "--shape", "n=100", "--json")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert json.loads(done.stdout)["kernel"] == "double"


def test_a_mistake_leaves_with_2_and_one_message():
    done = shell("platform", "ascend910", "--json")
    message = (
        "error: unknown platform 'ascend910': did you mean ascend910a or ascend910b1 or ascend310? Known: "
        "ascend310, ascend310p3, ascend910a, ascend910b1, ascend_lite, ascend_tiny\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_platform_lists_the_chips(answer):
    names = [chip["name"] for chip in answer("platform")["platforms"]]
    assert "ascend910a" in names


def test_platform_shows_every_figure_with_unit_and_source(davinci, answer):
    found = answer("platform", "ascend910a")
    assert found["name"] == "ascend910a"
    assert found["figures"]["ub_bytes"]["value"] == 262144
    assert set(found["figures"]) == set(platform("ascend910a").figures)
    assert all(
        set(figure) == {"value", "unit", "provenance", "source"} for figure in found["figures"].values()
    )
    text = davinci("platform", "ascend910a").stdout
    missing = [key for key in found["figures"] if not key.startswith("vector_cycles.") and key not in text]
    assert missing == []


def test_kernel_list_prints_every_name_with_its_keys(davinci, answer):
    found = {each["name"]: each for each in answer("kernel", "list")["kernels"]}
    assert {"m", "k", "n"} <= set(found["matmul"]["keys"])
    assert (found["matmul"]["keys"]["m"], found["matmul"]["keys"]["b"]) == (None, 1)
    text = davinci("kernel", "list").stdout
    assert all(name in text for name in found)


def test_kernel_run_accounts_for_everything(answer):
    found = answer("kernel", "run", "matmul", "--shape", SMALL)
    assert {
        "kernel", "platform", "shape", "tiling", "cycles", "us", "instructions", "wall_s", "tflops",
        "gm_bytes", "gbps", "pipes", "roofline", "max_abs_error", "engine", "task_start_cycles", "dtype",
    } <= set(found)  # fmt: skip
    assert {axis: found["shape"][axis] for axis in "mkn"} == {"m": 20, "k": 30, "n": 40}
    assert found["us"] == pytest.approx(found["cycles"] / 1000)
    assert set(found["pipes"]) == PIPES
    assert all(0 <= pipe["utilization"] <= 1 for pipe in found["pipes"].values())
    assert 0 < found["roofline"]["efficiency"] <= 1
    assert found["max_abs_error"] < 0.05


def test_both_engines_agree_on_time_and_data(answer):
    fast = answer("kernel", "run", "matmul", "--shape", SMALL)
    reference = answer("kernel", "run", "matmul", "--shape", SMALL, "--engine", "reference")
    timed = answer("kernel", "run", "matmul", "--shape", SMALL, "--no-data")
    same = ("cycles", "instructions", "pipes", "gm_bytes")
    assert [fast[key] for key in same] == [reference[key] for key in same] == [timed[key] for key in same]
    assert fast["max_abs_error"] == reference["max_abs_error"]
    assert timed["max_abs_error"] is None


def test_types_of_the_output_can_be_chosen(answer):
    found = answer("kernel", "run", "matmul", "--shape", f"{SMALL},out_dtype=fp32")
    assert found["operands"] == {"a": "fp16", "b": "fp16", "c": "fp32"}


def test_a_wrong_result_exits_with_1_and_says_where(davinci):
    result = davinci("kernel", "run", f"{OWN}:forgetful", "--shape", "n=8")
    assert result.exit_code == 1
    assert "WRONG" in result.stdout
    assert result.stderr.startswith(
        "kernel forgetful: output y differs from the reference in 8 elements; worst at ["
    )


def test_trace_and_timeline_are_written(davinci, tmp_path):
    trace, picture = tmp_path / "deep" / "trace.json", tmp_path / "timeline.png"
    run = ("kernel", "run", f"{OWN}:double", "--shape", "n=64", "--trace", trace, "--timeline", picture)
    assert davinci(*run).exit_code == 0
    assert any(event["name"] == "vadd" for event in json.loads(trace.read_text())["traceEvents"])
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def few_digits(monkeypatch):
    """Offer a data set of 64 digits for training and 32 for testing, called "few"."""
    from framework import data

    def few(batch_size: int, seed: int) -> data.Split:
        whole = data.digits(batch_size, seed)
        return replace(whole, train=first(whole.train, 64), test=first(whole.test, 32))

    def first(part: data.Dataset, count: int) -> data.Dataset:
        return replace(part, images=part.images[:count], labels=part.labels[:count])

    monkeypatch.setitem(data.DATASETS, "few", few)


def test_training_on_the_host_tells_loss_and_accuracy(few_digits, answer):
    found = answer("train", "lenet5", "--data", "few", "--epochs", "2", "--batch", "32")
    assert found["steps"] == 4
    assert 0 <= found["accuracy"] <= 1
    assert found["loss"] > 0
    assert found["device_ms_per_step"] is None


# Mistakes. Where a list of names grows with the kit, the message is compared up to that list.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kernel", "run", "matmull", "--shape", SMALL), "unknown kernel 'matmull': did you mean matmul"),
        (
            ("train", "lenet", "--data", "digits"),
            "unknown model 'lenet': did you mean lenet5 or resnet50? Known: ",
        ),
        (("train", "lenet5", "--data", "digit"), "unknown data set 'digit': did you mean digits? Known: "),
        (("train", "lenet5", "--data", "digits", "--device", "ascend910"),
         "unknown device 'ascend910': did you mean ascend910a or ascend910b1 or ascend310? Known: "),
        (("kernel", "run", "matmul", "--shape", SMALL, "--platform", "asend910a"),
         "unknown platform 'asend910a': did you mean ascend910a or ascend910b1 or ascend310? Known: "),
        (("experiment", "run", "no such thing"), "unknown experiment 'no such thing'"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_answered_with_the_nearest(refusal, arguments, message):
    assert refusal(*arguments).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shape", SMALL, "--dtype", "fp61"),
         "unknown dtype 'fp61': did you mean fp16? Known: bf16, fp16, fp32, int16, int32, int4, int8, "
         "uint16, uint8"),
        (("--shape", SMALL, "--engine", "slow"), "unknown engine 'slow'; known: fast, reference"),
        (("--shape", "m=20,k=30"),
         "kernel matmul: the shape lacks n\n  rule: it takes m, k, n, b, trans_a, trans_b, shared, act, "
         "dtype, out_dtype\n  next: --shape n=64"),
        (("--shape", f"{SMALL},q=3"),
         "unknown --shape key of kernel matmul 'q'; known: act, b, k, m, n, out_dtype, shared, trans_a, "
         "trans_b"),
        (("--shape", "m=0,k=30,n=40"), "kernel matmul: m=0\n  rule: every axis is at least 1"),
        (("--shape", "m=two,k=30,n=40"), "--shape m=two: 'two' is no whole number; write m=64"),
        (("--shape", "m"), "--shape 'm': 'm' is no key=value; write --shape m=64,k=32"),
        (("--shape", "m=1,m=2"), "--shape 'm=1,m=2': m is given twice"),
        (("--shape", SMALL, "--dtype", "int8"),
         "kernel matmul: dtype=int8\n  rule: dtype is fp16 or fp32\n  next: change the shape"),
        (("--shape", SMALL, "--tiling", "mo=16"),
         "unknown tiling field of kernel matmul 'mo'; known: band, head_k, k0, l1_k, lean, m0, n0, part, "
         "slots, stage, stages"),
        (("--shape", "m=100000,k=100000,n=100000"),
         "kernel matmul of shape m=100000,k=100000,n=100000,b=1,trans_a=0,trans_b=0,shared=0,act=0,"
         "dtype=fp16,out_dtype=fp16: "
         "the set of tensors a, b, c does not fit GM: needs 60000000000 bytes, available 34359738368; "
         "use a smaller shape"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_answered_exactly(refusal, arguments, message):
    assert refusal("kernel", "run", "matmul", *arguments) == message


def test_a_tiling_that_does_not_fit_names_the_buffer_and_the_bytes(refusal):
    message = refusal("kernel", "run", f"{OWN}:double", "--shape", "n=1024", "--tiling", "spare=65")
    assert message == (
        "kernel double of shape n=1024,dtype=fp32, tiling spare=65: "
        "buffer row@UB needs 266240 bytes, 262144 are available\n"
        f"  {SHOWN}:{line_of('tiling.spare')}: row = alloc(core, UB, tiling.spare * shape.n * 4)\n"
        "  next: use smaller tiles or fewer slots"
    )


def test_an_operand_in_the_wrong_space_names_instruction_rule_and_line(refusal):
    message = refusal("kernel", "run", f"{OWN}:misplaced", "--shape", "n=8")
    assert message == (
        "data_move(dst=L0A+0x0, src=GM+0x0, nburst=1, burst_len=1, src_gap=0, dst_gap=0, atomic=0, "
        "dtype=uint8)\n"
        "  rule: the move must go one of the ways GM->L1, GM->UB, UB->GM, UB->L1, L1->UB, UB->UB\n"
        f"  {SHOWN}:{line_of('row, x, 1, 1)')}: data_move(core, row, x, 1, 1)\n"
        "  next: docs/reference/instructions.md tells what data_move takes"
    )


def test_a_deadlock_names_who_waits_for_which_flag(refusal):
    message = refusal("kernel", "run", f"{OWN}:stuck", "--shape", "n=8")
    assert message == (
        "stuck, waiting for flags that nobody sets:\n"
        f"  PIPE_V waits for flag(src=MTE2, dst=V, event_id=3)  ({SHOWN}:{line_of('wait_flag(core')})\n"
        "  next: every wait_flag needs one set_flag of the same pipes and event id before it"
    )


def line_of(text: str) -> int:
    """Return the number of the only line of own_kernels.py that holds a text."""
    (number,) = (n for n, line in enumerate(OWN.read_text().splitlines(), start=1) if text in line)
    return number


@pytest.mark.parametrize("option", ["--trace", "--timeline"])
def test_a_file_that_cannot_be_written_is_found_out_before_the_work(refusal, tmp_path, option):
    below_a_file = tmp_path / "file" / "out"
    (tmp_path / "file").write_text("")
    message = refusal("kernel", "run", "matmul", "--shape", "m=4096,k=4096,n=4096", option, below_a_file)
    assert (
        message
        == f"cannot write {below_a_file}: Not a directory; choose another folder or change its permissions"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import nothing_of_that_name\n",
            "ModuleNotFoundError: No module named 'nothing_of_that_name'\n  own.py:1",
        ),
        ("x = 1\ndef f(:\n", "SyntaxError: invalid syntax (own.py, line 2)\n  own.py:2"),
    ],
)
def test_a_kernel_file_that_fails_says_where(refusal, tmp_path, text, message):
    own = tmp_path / "own.py"
    own.write_text(text)
    assert refusal("kernel", "run", f"{own}:add", "--shape", "n=1") == f"{own} cannot be imported: {message}"


def test_a_kernel_file_is_asked_for_its_own_kernels(refusal, tmp_path):
    assert refusal("kernel", "run", f"{OWN}:dubble", "--shape", "n=1") == (
        f"unknown kernel of {OWN} 'dubble': did you mean double? Known: double, forgetful, misplaced, "
        "racing, stuck"
    )
    missing = tmp_path / "no.py"
    assert refusal("kernel", "run", f"{missing}:add") == (
        f"there is no file {missing}; give the path of a Python file, as in my_kernel.py:add"
    )


@pytest.mark.parametrize(
    "arguments", [("frob",), ("train", "lenet5"), ("kernel", "run"), ("platform", "--jsom")]
)
def test_wrong_usage_exits_with_2(refusal, arguments):
    assert refusal(*arguments).startswith("Usage: ")
