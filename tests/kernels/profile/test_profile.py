"""A profile says what a launch's time consists of, and its advice is true."""

from __future__ import annotations

import csv
import json
from itertools import islice
from pathlib import Path

import pytest

import kernels
from davinci_sim.chip.simulate import simulate
from davinci_sim.core.program import parse
from davinci_sim.errors import UnknownName
from davinci_sim.platforms import assumed, platform
from davinci_sim.trace.ledger import PIPE_NAMES
from experiments.user_files import load_module
from kernels.profile import advise, bounds, compare, profile, what_ifs, write_csv
from kernels.profile.findings import LEAST_SHARE, findings
from kernels.profile.profile import alone
from kernels.profile.tables import op_summary
from kernels.profile.traffic import bytes_by_space
from kernels.profile.what_if import without
from kernels.roofline import gm_bytes
from kernels.samples import shapes

P = platform("ascend910a")
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "axpy.py"


def profiled(name, chip=P, tiling=None, **axes):
    """Return the profile of a kernel on a shape, with some fields of the tiling changed."""
    kernel = kernels.find(name)
    shape = kernel.shape_type.of(name, axes)
    changed = None if tiling is None else kernel.tiling_type.of(name, tiling, shape, chip)
    return profile(kernel, shape, chip, changed)


@pytest.fixture(scope="module")
def product():
    """Return the profile of a matrix product."""
    return profiled("matmul", m=512, k=512, n=512)


@pytest.fixture(scope="module")
def single():
    """Return the profile of an addition without double buffering."""
    return profiled("add", tiling={"tile": 2048, "slots": 1}, n=400_000)


@pytest.fixture(scope="module")
def streaming():
    """Return the profile of an addition that all cores' share of the device memory limits."""
    return profiled("add", n=4_000_000)


def test_bounds_are_known_without_emitting(monkeypatch):
    """32 cubes of 4096 products a cycle; 6 MiB over 1024 bytes a cycle, of which writes may stay in L2."""
    kernel = kernels.find("matmul")
    monkeypatch.setattr(type(kernel), "emitted", None)
    monkeypatch.setattr(type(kernel), "task", None)
    known = bounds(kernel, kernel.shape_type.of("matmul", {"m": 1024, "k": 1024, "n": 1024}), P)
    assert (known.ideal_cycles, known.port_cycles, known.port) == (8192, 4096, "hbm")
    assert (known.cycles, known.binding, known.capacity_cycles) == (8192, "ideal", 0)


def test_small_memories_bind_large_products():
    """With 16 KiB on chip a core must read its operands again and again."""
    small = {f"{space}_bytes": assumed(4096, "B", "a what-if") for space in ("l1", "l0a", "l0b", "l0c", "ub")}
    kernel = kernels.find("matmul")
    shape = kernel.shape_type.of("matmul", {"m": 4096, "k": 4096, "n": 4096})
    tight = bounds(kernel, shape, P.with_figures("tight", **small))
    room = (5 * 4096 // 2 + 1) ** 0.5
    assert tight.binding == "capacity"
    assert tight.capacity_cycles == pytest.approx(2 * 2 * 4096**3 / room / 3300, rel=0.01)
    assert bounds(kernel, shape, P).binding == "ideal"


@pytest.mark.parametrize(
    ("name", "axes"),
    [("matmul", {"m": 200, "k": 300, "n": 100}), ("add", {"n": 50_000}), ("reduce_sum", {"m": 9, "n": 700})],
)
def test_no_launch_beats_its_bounds(name, axes):
    found = profiled(name, **axes)
    assert found.bounds.cycles <= found.cycles
    assert found.bounds.cycles >= found.bounds.port_cycles


def test_the_vector_ceiling_counts_what_the_program_has_the_unit_do():
    """16384 additions of 128 numbers on 32 cores: 512 cycles each, whatever conflicts cost beside."""
    found = profiled("add", n=1 << 21)
    assert found.roofline.ceilings["vector"] == (1 << 21) // 128 // 32
    assert found.roofline.highest == "hbm"
    assert found.limiting_pipe == "MTE2"


def test_lines_name_the_source_and_sum_to_what_is_charged():
    """Every charge of the ledger that has a line is in the heat of that line."""
    axpy = load_module(EXAMPLE, "profiled_axpy").axpy
    found = profile(axpy, axpy.shape_type.of("axpy", {"n": 100_000}), P)
    charged = sum(line.cycles for line in found.ledger.lines if line.source)
    heat = sum(sum(sum(c.values()) for c in each.pipes.values()) for each in found.lines)
    assert heat == charged
    vector = [each for each in found.lines if each.text.startswith("flat_")]
    assert all(each.source.startswith("docs/examples/axpy.py:") for each in vector)
    assert sum(each.busy_cycles for each in vector) == found.trace.busy_cycles("V")
    assert vector[0].chief == ("V", "busy")


def test_cores_that_get_no_block_are_told_from_cores_that_have_none():
    """32 short blocks, 82 cycles apart, run on the few cores that are free again; 4 blocks have 4 cores."""
    short = profiled("add", tiling={"tile": 128, "cores": 32}, n=4096)
    (reused,) = [each.text for each in findings(short) if each.cause == "no_block"]
    idle = 32 - len(short.trace.cores)
    assert reused == f"{idle} of 32 cores get no block, since others are done before it starts"
    long = profiled("add", tiling={"tile": 4096, "cores": 4}, n=400_000)
    (unused,) = [each.text for each in findings(long) if each.cause == "no_block"]
    assert unused == "28 of 32 cores have no block"


def test_advice_names_a_tiling_that_was_simulated(single):
    """Without a second buffer MTE2 waits until V has used the first; two slots are faster, as it says."""
    given = [each for each in advise(single) if each.tiling is not None]
    assert given
    for each in given:
        cycles = profile(single.kernel, single.shape, P, each.tiling).cycles
        assert cycles == each.cycles < single.cycles
        assert f"({cycles} cycles)" in each.text
    deeper = [each for each in given if each.cause == "buffer_full"]
    assert deeper[0].pipe == "MTE2"
    share = single.ledger.share("MTE2", "buffer_full")
    saved = 100 * (1 - deeper[0].cycles / single.cycles)
    assert deeper[0].text.startswith(f"MTE2 waits {100 * share:.0f} % for free buffers that V has in use at ")
    expected = f": slots=2 fits in UB and saves {saved:.1f} % ({deeper[0].cycles} cycles)"
    assert deeper[0].text.endswith(expected)


def test_the_best_advice_comes_first(single):
    given = advise(single)
    gains = [each.cycles for each in given if each.tiling is not None]
    assert gains == sorted(gains)
    assert [each.tiling is None for each in given] == sorted(each.tiling is None for each in given)


def test_a_limit_that_is_taken_away_is_simulated(streaming):
    """The same programs on a machine that differs in one thing; the fastest machine comes first."""
    limits = what_ifs(streaming)
    found = {each.name: each for each in limits}
    free = P.with_figures("free", block_start_cycles=assumed(0, "cycles", "a what-if"))
    assert found["blocks at once"].cycles == alone(streaming.task, free).cycles
    assert found["blocks at once"].saved == 1 - found["blocks at once"].cycles / streaming.cycles
    wide = P.with_figures("wide", hbm_bytes_per_cycle=assumed(10**6, "B/cycle", "a what-if"))
    assert found["device memory without end"].cycles == alone(streaming.task, wide).cycles < streaming.cycles
    assert [each.cycles for each in limits] == sorted(each.cycles for each in limits)


def test_a_machine_without_bank_conflicts_has_none():
    """Two operands in one group of banks: 100 repeats take 100 cycles there, and twice that here."""
    program = parse(
        f"PIPE_V vadd dst=UB+0x20000 src0=UB+0x0 src1=UB+0x200 mask={'f' * 32} repeat=100 dst_blk=1 "
        "src0_blk=1 src1_blk=1 dst_rep=8 src0_rep=8 src1_rep=8 dtype=fp32"
    )
    latency = 1 + int(P.vector_drain_cycles)
    free = without(P, "no bank conflicts", {"ub_bank_groups": 0})
    assert [simulate([program], chip).cycles - latency for chip in (P, free)] == [200, 100]


def test_advice_says_what_a_loss_is_worth_at_most(streaming, single):
    limits = what_ifs(streaming)
    (wide,) = [each.saved for each in limits if each.name == "device memory without end"]
    known = {each.cause: each for each in advise(streaming, limits)}
    assert known["hbm_share"].worth == wide > 0
    assert f"(worth {100 * wide:.1f} % at most): " in known["hbm_share"].text
    full = [each for each in advise(single, what_ifs(single)) if each.cause == "buffer_full"]
    assert [each.worth for each in full] == [None]


def test_every_finding_is_a_share_of_the_ledger(product, single):
    for found in (product, single):
        for each in findings(found):
            assert each.share >= LEAST_SHARE
            if each.cause not in {"no_block", "imbalance"}:
                assert each.share == found.ledger.share(each.pipe, each.cause)
            assert f"{100 * each.share:.0f} %" in each.text or each.cause == "no_block"


def test_a_part_of_the_chip_that_works_all_the_time_is_named():
    """A long addition keeps the device memory busy."""
    found = profiled("add", n=40_000_000)
    (text,) = [each.text for each in advise(found) if each.cause == "busy"]
    share = sum(found.ledger.hbm_bytes) / (1024 * found.cycles)
    assert share > 0.9
    assert text == f"the device memory works {100 * share:.0f} % of the time: only less work for it helps"


def test_terms_of_a_comparison_sum_to_the_difference(product):
    """For every pipe, exactly."""
    other = profiled("matmul", tiling={"m0": 64, "slots": 1}, m=512, k=512, n=512)
    difference = compare(product, other)
    assert difference.cycles == other.cycles - product.cycles
    for pipe in PIPE_NAMES:
        assert sum(difference.terms(pipe).values()) == difference.cycles
        back = compare(other, product).terms(pipe)
        assert back == {cause: -cycles for cause, cycles in difference.terms(pipe).items()}
    assert compare(product, product).terms("M") == {}
    with pytest.raises(UnknownName, match="unknown pipe 'MTE9'"):
        difference.terms("MTE9")


def test_json_holds_everything(product, single):
    """A report needs nothing else; what it says survives a file."""
    found = json.loads(json.dumps(product.as_json()))
    assert set(found) == {
        "kernel", "platform", "shape", "operands", "tiling", "cycles", "us", "instructions", "cores",
        "limiting_pipe", "bounds", "roofline", "use", "ledger", "lines",
    }  # fmt: skip
    assert found["cycles"] == product.cycles
    assert set(found["roofline"]["ceilings"]) == {"cube", "vector", "paths", "l2", "hbm"}
    assert json.loads(json.dumps([each.as_json() for each in advise(single)]))[0]["tiling"]["slots"] >= 1


def test_traffic_counts_the_bytes_of_every_memory(product):
    """What leaves device memory enters L1; L0A and L0B feed the cube what they were given."""
    moved = bytes_by_space(product.task.programs)
    assert moved["GM"] == gm_bytes(product.task)
    assert moved["L1"][1] == moved["GM"][0]
    assert moved["L0A"][0] == moved["L0A"][1]
    assert moved["UB"][0] == moved["UB"][1] == moved["GM"][1]


def test_tables_have_the_columns_that_ascend_users_know(product, tmp_path):
    paths = write_csv(product, tmp_path / "tables")
    assert len(paths) == 1 + 2 * len(product.trace.cores)
    (summary,) = read(tmp_path / "tables" / "op_summary.csv")
    assert list(summary)[:7] == [
        "Op Name", "OP Type", "Task Type", "Task Start Time(us)", "Task Duration(us)", "Task Wait Time(us)",
        "Block Dim",
    ]  # fmt: skip
    assert {"aicore_time(us)", "total_cycles", "mac_ratio", "mte2_time(us)", "memory_bound"} <= set(summary)
    assert {"vec_bank_cflt_ratio", "ub_read_bw(GB/s)", "main_mem_write_bw(GB/s)"} <= set(summary)
    ratio = product.trace.busy_cycles("M") / int(summary["total_cycles"])
    assert float(summary["mac_ratio"]) == pytest.approx(ratio)
    assert (summary["Input Shapes"], summary["Input Formats"]) == ("512,512;512,512", "NZ;NZ")
    instructions = read(tmp_path / "tables" / "core0_instr_exe.csv")
    assert list(instructions[0]) == [
        "instr", "addr", "pipe", "call_count", "cycles", "running_time(us)", "detail",
    ]  # fmt: skip
    lines = read(tmp_path / "tables" / "core0_code_exe.csv")
    assert list(lines[0]) == ["code", "call_count", "cycles", "running_time(us)"]
    mine = product.trace.records[product.trace.records["core"] == 0]
    held = int((mine["end"] - mine["start"]).sum())
    for table in (instructions, lines):
        assert sum(int(row["cycles"]) for row in table) == held
        assert sum(int(row["call_count"]) for row in table) == len(mine)


def read(path):
    """Return the rows of a table by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize("name", kernels.load())
def test_advice_for_every_kernel_is_true(name):
    """Of what is said to be faster every cycle is simulated; every bound holds; everything can be written."""
    kernel = kernels.find(name)
    for shape in islice(shapes(kernel), 1):
        found = profile(kernel, shape, P)
        given = advise(found, what_ifs(found))
        assert given
        for each in given:
            if each.tiling is not None:
                assert each.cycles == profile(kernel, shape, P, each.tiling).cycles < found.cycles
        assert found.bounds.cycles <= found.cycles
        assert json.dumps(found.as_json())
        assert op_summary(found)["total_cycles"] <= found.cycles * len(found.trace.cores)
