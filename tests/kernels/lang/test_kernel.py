"""What the authoring language promises: source lines, one meaning in two ways of running, clear refusals."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from davinci_sim.core.barriers import with_barriers
from davinci_sim.core.local import space_bytes
from davinci_sim.errors import BadShape, BadTiling, DavinciError, Deadlock, IllegalInstruction, UnknownName
from davinci_sim.isa import state as st
from davinci_sim.platforms import platform
from davinci_sim.platforms.figure import assumed
from kernels import find
from kernels.lang import (
    FP32,
    INT8,
    L0A,
    MTE2,
    MTE3,
    UB,
    Operand,
    Shape,
    Tiling,
    V,
    alloc,
    block_dim,
    block_idx,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_scale,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    use,
    vadd,
    vadds,
)
from kernels.lang.kernel import KERNELS
from kernels.lang.rewrite import rewrite, touches_core
from kernels.pieces.stream import bring
from kernels.pieces.turn import turn_of

CHIP = platform("ascend910a")
RIGHT, NO_ROOM, WRONG_SPACE, WRONG_TYPE, TOO_MANY_SLOTS, NEVER_FREED, NEVER_CLOSED = range(7)


@dataclass(frozen=True)
class Case(Shape):
    """A vector, and what the kernel does wrong with it."""

    n: int
    case: int = RIGHT
    OPTIONS = ("case",)

    def check(self, kernel):
        if self.n % 64:
            raise BadShape(f"kernel {kernel}: n={self.n}\n  rule: whole repeats only")


@dataclass(frozen=True)
class Tiles(Tiling):
    """Elements that are moved at a time."""

    tile: int
    slots: int = 2

    @classmethod
    def default(cls, shape, platform):
        return cls(1024)

    def blocks(self, shape, platform):
        return 2


@emits
def wrong_sum(core, buffer: int, case: int) -> None:
    """Emit what an instruction refuses."""
    if case == WRONG_SPACE:
        l0a = alloc(core, L0A, 512)
        vadd(core, buffer, buffer, l0a, 1, FP32)  # line: wrong space
    elif case == WRONG_TYPE:
        vadd(core, buffer, buffer, buffer, 1, INT8)


@kernel(
    Case,
    Tiles,
    lambda s: (Operand("x", (s.n,), FP32), output("y", (s.n,), FP32)),
    lambda shape, x: (2 * x + 1,),
)
def twice_and_one_in_a_test(core, x, y, shape, tiling):
    """y[n] = 2 x[n] + 1."""
    start, end = share_start(core, shape.n, 64), share_end(core, shape.n, 64)
    if shape.case == NO_ROOM:
        large = alloc(core, UB, 300_000)  # line: no room
        start += large * 0
    slots = 9 if shape.case == TOO_MANY_SLOTS else tiling.slots
    buffer = alloc(core, UB, tiling.slots * tiling.tile * 4)
    q_in = queue(core, MTE2, V, slots)  # line: queue
    q_out = queue(core, V, MTE3, tiling.slots)
    wrong_sum(core, buffer, shape.case)
    for i in range(start, end, tiling.tile):
        n = min(tiling.tile, end - i)
        slot = buffer + fill(core, q_in) * tiling.tile * 4  # line: fill
        data_move(core, src=x + i * 4, dst=slot, nburst=1, burst_len=n // 8)  # line: load
        filled(core, q_in)
        slot = buffer + use(core, q_in) * tiling.tile * 4  # line: use
        fill(core, q_out)
        vadd(core, slot, slot, slot, n // 64, FP32, 64)
        vadds(
            core,
            slot,
            slot,
            n // 64,
            1,
            FP32,
        )  # the record shows the first of these lines
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + i * 4, slot, 1, n // 8)
        free(core, q_out)
        if shape.case != NEVER_FREED:
            free(core, q_in)
    close(core, q_out)
    if shape.case != NEVER_CLOSED:
        close(core, q_in)


TWICE = KERNELS.pop("twice_and_one_in_a_test")  # not one of the kit's kernels
HERE = "tests/kernels/lang/test_kernel.py"


def line_of(text: str) -> int:
    """Return the number of the first line of this file that contains a text."""
    lines = inspect.getsource(sys.modules[__name__]).splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


def task(case=RIGHT, n=8192, chip=CHIP, **tiling):
    """Emit the kernel."""
    shape = Case.of("twice", {"n": n, "case": case})
    return TWICE.task(shape, {"x": 0, "y": 1 << 20}, chip, Tiles.of("twice", tiling, shape, chip))


def refusal(kind, case, **tiling):
    """Return what a wrong kernel is answered."""
    with pytest.raises(kind) as error:
        task(case, **tiling)
    return str(error.value)


def test_a_record_knows_its_source_line():
    """Helpers of the language show the line that called them."""
    program = task().programs[0]
    shown = {}
    for index in range(len(program)):
        name = program.line(index).split()[1]
        shown.setdefault(name, program.source(index))
    assert shown["data_move"] == f"{HERE}:{line_of('# line: load')}"
    assert shown["set_flag"] == f"{HERE}:{line_of('# line: queue')}"
    assert shown["wait_flag"] == f"{HERE}:{line_of('# line: fill')}"
    assert shown["vadds"] == f"{HERE}:{line_of('        vadds(')}"


def heads_that_emit(core, q: int) -> None:
    """Emit in the heads of statements."""
    for _ in range(use(core, q)):
        free(core, q)
    if block_idx(core) == 0:
        free(core, q)
    elif block_dim(core) == 1:
        close(core, q)


def test_the_head_of_a_loop_or_branch_knows_its_line_too():
    """A store of the line stands before the loop, the branch, and the branch in its else."""
    source = ast.unparse(rewrite(heads_that_emit, mark_lines=True).tree)
    first = line_of("def heads_that_emit")
    marked = [int(number) & 0xFFFF for number in re.findall(r"core\.state\[1\] = (\d+)", source)]
    assert marked == [first + offset for offset in (2, 3, 4, 5, 6, 7)]


def test_plain_python_emits_the_same_words():
    """The function that was compiled, run as Python on the same two arrays."""
    shape, tiling = Case(8192), Tiles(1024)
    for block in range(2):
        core = st.new_core_state(512, space_bytes(CHIP, 0), CHIP.event_ids_per_pipe_pair)
        st.begin_block(core, block, 2)
        TWICE.emit.py_func(core, 0, 1 << 20, shape.pack(), tiling.pack())
        words = core.words[: core.state[st.COUNT]]
        assert np.array_equal(with_barriers(words), task().programs[block].words)


def test_without_numba_a_kernel_of_the_kit_emits_the_same_words():
    """A debugger steps through the kernel and what it calls."""
    script = (
        "import kernels; from davinci_sim.platforms import platform; k = kernels.find('matmul');"
        "s = k.shape_type.of('matmul', {'m': 40, 'k': 40, 'n': 40});"
        "t = k.task(s, dict(zip('abc', (0, 65536, 131072))), platform('ascend910a'));"
        "print(*(p.digest() for p in t.programs))"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **extra},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for extra in ({}, {"NUMBA_DISABLE_JIT": "1"})
    ]
    assert printed[0] == printed[1]
    assert len(printed[0]) > 64


def test_named_arguments_and_defaults_mean_what_their_places_mean():
    """The load is written with names in another order; its record is the plain one."""
    program = task(n=128).programs[0]
    load = next(program.line(index) for index in range(len(program)) if "data_move" in program.line(index))
    assert "dst=UB+0x0 src=GM+0x0 nburst=1 burst_len=8 src_gap=0 dst_gap=0" in load


def test_a_deferred_task_is_the_same_one_emitted_later():
    """What is wrong with it comes up when its programs are asked for."""
    shape = Case.of("twice", {"n": 8192, "case": RIGHT})
    chosen = Tiles.of("twice", {}, shape, CHIP)
    later, now = TWICE.deferred(shape, {"x": 0, "y": 1 << 20}, CHIP, chosen), task()
    assert (later.key, later.tensors, later.operands) == (now.key, now.tensors, now.operands)
    assert later.block_dim == now.block_dim
    assert [p.digest() for p in later.programs] == [p.digest() for p in now.programs]
    wrong = TWICE.deferred(
        Case.of("twice", {"n": 8192, "case": NEVER_CLOSED}), {"x": 0, "y": 0}, CHIP, chosen
    )
    with pytest.raises(DavinciError):
        _ = wrong.words


def test_blocks_share_the_work_in_whole_units():
    """Each element is loaded by one block."""
    loads = []
    for program in task(n=64 * 5).programs:
        for index in range(len(program)):
            line = program.line(index)
            if "data_move" in line and "src=GM" in line:
                fields = dict(part.split("=") for part in line.split("#")[0].split()[2:])
                loads.append((int(fields["src"].split("+")[1], 16), int(fields["burst_len"]) * 32))
    ends = [start + size for start, size in loads]
    assert [start for start, _ in loads] == [0, *ends[:-1]]
    assert ends[-1] == 64 * 5 * 4


def test_a_buffer_that_does_not_fit_is_named_with_its_bytes():
    assert refusal(BadTiling, NO_ROOM) == (
        "kernel twice_and_one_in_a_test of shape n=8192,case=1, tiling tile=1024,slots=2: "
        "buffer large@UB needs 300000 bytes, 262144 are available\n"
        f"  {HERE}:{line_of('# line: no room')}: large = alloc(core, UB, 300_000)  # line: no room\n"
        "  next: use smaller tiles or fewer slots"
    )


def test_an_operand_in_a_wrong_space_is_named_with_the_rule_and_the_line():
    """And marked there."""
    place = f"  {HERE}:{line_of('# line: wrong space')}: "
    assert refusal(IllegalInstruction, WRONG_SPACE) == (
        "vadd(dst=UB+0x0, src0=UB+0x0, src1=L0A+0x0, repeat=1, dtype=fp32, mask=128, dst_blk=1, src0_blk=1, "
        "src1_blk=1, dst_rep=8, src0_rep=8, src1_rep=8)\n"
        "  rule: src1 = L0A+0x0 must live in UB, aligned to 32 bytes\n"
        f"{place}vadd(core, buffer, buffer, l0a, 1, FP32)  # line: wrong space\n"
        f"{' ' * (len(place) + len('vadd(core, buffer, buffer, '))}^^^\n"
        "  next: docs/reference/instructions.md tells what vadd takes"
    )


def test_an_element_type_that_an_instruction_does_not_take_is_named():
    rule = "  rule: dtype int8 must be one of fp16, fp32, int32, int16\n"
    assert rule in refusal(IllegalInstruction, WRONG_TYPE)


def test_a_queue_with_more_slots_than_the_platform_has_events_is_refused():
    assert refusal(BadTiling, TOO_MANY_SLOTS) == (
        "kernel twice_and_one_in_a_test of shape n=8192,case=4, tiling tile=1024,slots=2: "
        "9 event ids from MTE2 to V are wanted, 4 are left\n"
        f"  {HERE}:{line_of('# line: queue')}: q_in = queue(core, MTE2, V, slots)  # line: queue\n"
        "  next: use fewer slots or fewer queues between these pipes"
    )


def test_a_slot_that_is_never_freed_is_a_deadlock_that_names_the_flags_and_the_lines():
    message = refusal(Deadlock, NEVER_FREED)
    assert message.splitlines()[:2] == [
        "stuck, waiting for flags that nobody sets:",
        f"  PIPE_V waits for flag(src=MTE2, dst=V, event_id=0)  ({HERE}:{line_of('# line: use')})",
    ]
    waits = f"  PIPE_MTE2 waits for flag(src=V, dst=MTE2, event_id=0)  ({HERE}:{line_of('# line: fill')})"
    assert waits in message


def test_a_queue_that_is_never_closed_is_refused():
    message = refusal(IllegalInstruction, NEVER_CLOSED)
    assert "  rule: set_flag and wait_flag must balance; nobody waits for this flag\n" in message
    assert message.endswith("  next: add the wait_flag, or close the queue at the end of the kernel")


def test_a_platform_with_smaller_buffers_is_asked_by_its_sizes_and_not_by_its_name():
    small = CHIP.with_figures("ascend910a", ub_bytes=assumed(4096, "B", "a test"))
    task()
    with pytest.raises(BadTiling, match="buffer buffer@UB needs 8192 bytes, 4096 are available"):
        task(chip=small)


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        ("vadd(core, x, x)", "src1, repeat, dtype must be given"),
        ("vadd(core, x, x, x, 1, FP32, dtype=FP32)", "argument dtype is given twice"),
        ("vadd(core, x, x, x, 1, FP32, lanes=3)", "there is no argument lanes"),
        (f"vadd(core, {', '.join('x' * 13)})", "13 arguments follow the core, at most 12 are taken"),
        ("alloc(core, UB)", "nbytes must be given"),
    ],
)
def test_a_wrong_call_is_refused_where_it_stands(tmp_path, call, rule):
    """When the kernel is declared: the file, the line, the rule, and what the call takes."""
    path = tmp_path / "wrong.py"
    path.write_text(f"def wrong(core, x):\n    {call}\n")
    scope = {"vadd": vadd, "alloc": alloc, "FP32": FP32, "UB": UB, "__name__": "wrong"}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    with pytest.raises(DavinciError) as error:
        emits(scope["wrong"])
    lines = str(error.value).splitlines()
    assert lines[0] == f"wrong.py:2: {call}"
    assert lines[1] == f"  rule: {rule}"
    assert lines[2].startswith(f"  next: {call.split('(')[0]} takes (core, ")


def test_a_function_without_a_file_is_no_kernel():
    scope = {"__name__": "nowhere"}
    exec("def nowhere(core): pass", scope)
    with pytest.raises(DavinciError, match="kernel nowhere: its source cannot be read"):
        emits(scope["nowhere"])


def test_a_shape_says_what_it_lacks_and_what_it_does_not_know():
    with pytest.raises(BadShape) as error:
        Case.of("twice", {})
    assert str(error.value) == (
        "kernel twice: the shape lacks n\n  rule: it takes n, case\n  next: --shape n=64"
    )
    with pytest.raises(UnknownName, match="unknown axis of kernel twice 'm'"):
        Case.of("twice", {"m": 1})
    with pytest.raises(BadShape, match="n=0\n  rule: every axis is at least 1"):
        Case.of("twice", {"n": 0})
    with pytest.raises(BadShape, match="rule: whole repeats only"):
        Case.of("twice", {"n": 65})


def test_a_tiling_says_what_it_does_not_know():
    with pytest.raises(UnknownName, match="unknown tiling field of kernel twice 'tiles': did you mean tile"):
        task(tiles=3)
    with pytest.raises(BadTiling, match="kernel twice: tiling tile=0\n  rule: every field is at least 1"):
        task(tile=0)


def test_shapes_and_tilings_print_as_the_command_line_takes_them():
    assert (str(Case(64)), str(Tiles(8, 1))) == ("n=64,case=0", "tile=8,slots=1")
    assert Case(64).pack() == (64, 0)


def test_the_name_of_a_family_is_its_kernel_and_that_of_a_package_the_package():
    import kernels.matmul
    import kernels.tune

    assert kernels.matmul is kernels.find("matmul")
    assert kernels.tune.keep.__module__ == "kernels.tune.store"


def test_the_language_exports_what_it_lists():
    """Nothing in the list is missing, and instructions are there under their names."""
    from davinci_sim.isa import INSTRUCTIONS
    from kernels import lang

    assert [name for name in lang.__all__ if not hasattr(lang, name)] == []
    assert set(INSTRUCTIONS) <= set(lang.__all__)
    assert block_dim is lang.block_dim
    assert block_idx is lang.block_idx
    assert flat_scale is lang.flat_scale


def test_what_only_computes_works_on_the_host_without_a_core():
    """No line is stored for it: a tiling may ask what the kernel will."""
    shape = find("transpose").shape_type(c=33, d=70, a=1, b=1, perm=1)
    assert (turn_of(None, shape).j, turn_of(None, shape).i0) == (70, 33)
    assert touches_core(turn_of) is False
    assert touches_core(bring) is True


def test_pieces_show_their_lines():
    """What families share is no part of the language: its records point into it."""
    swish = find("swish")
    program = swish.program(swish.shape_type(n=4096), CHIP)
    sources = {program.source(index).partition(":")[0] for index in range(len(program))}
    assert "kernels/pieces/stream.py" in sources
    assert not any(source.startswith("kernels/lang") for source in sources)
