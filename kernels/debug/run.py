"""Run a kernel to a chosen instruction, on the compiled engine or on the SimPy core."""

import re
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.engine.l2 import new_l2
from davinci_sim.chip.faults import stuck
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.simulate import ENGINES, simulate_launches
from davinci_sim.chip.task import Task
from davinci_sim.core.dispatch import execute
from davinci_sim.core.local import new_memory
from davinci_sim.core.order import BARRIER
from davinci_sim.core.program import Program, out_of_bounds
from davinci_sim.errors import DavinciError, Deadlock, unknown
from davinci_sim.isa.machine import Memory
from davinci_sim.platforms import Platform, platform
from kernels.check import device_memory
from kernels.debug.names import names_of
from kernels.debug.pipes import UNKNOWN, Times
from kernels.debug.stopped import Stopped, arrivals
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.run import Arrays, random_inputs

Bytes = npt.NDArray[np.uint8]
_LINE = re.compile(r"(.+?):(\d+)(?::(-?\d+))?$")
MOST_SHOWN = 8
END = "end"
"""The place at which the block has done everything."""


def run_until(
    kernel: Kernel, shape: Shape, inputs: Arrays | None = None, until: int | str = END, *, block: int = 0,
    chip: str | Platform = "ascend910a", tiling: Tiling | None = None, engine: str = "fast",
) -> Stopped:  # fmt: skip
    """Run a kernel until the result of one instruction has arrived, with everything else that has by then.

    `until` is a record of the block's program (from its end if negative), or a line of the kernel as
    "gelu.py:57": then the first record of that line, "gelu.py:57:2" the second, "gelu.py:57:-1" the last.
    "end" is that of the block's results which comes last. Inputs are random numbers unless they are given.
    Both engines stop in the same cycle with the same bytes; the reference also runs a kernel up to an
    instruction before its deadlock.

    Raises:
        DavinciError: there is no such record or line.
        Deadlock: pipes wait for flags that nobody sets (with the reference: before that instruction).
        IllegalInstruction: an instruction breaks a rule.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    where = platform(chip) if isinstance(chip, str) else chip
    task = kernel.emitted(shape, kernel.handles(shape), where, tiling)
    kernel.program(shape, where, tiling, block)  # refuses a block that there is not
    if until == END:
        record = int(np.argmax(_block_times(task, where)[block].ready))
    else:
        record = record_of(kernel, task.programs[block], until)
    gm = device_memory(kernel, shape, task, inputs or random_inputs(kernel, shape, 0))
    run = _on_reference if engine == "reference" else _on_fast
    cycle, memory, times = run(task, where, gm, block, record)
    names = names_of(kernel, shape, where, tiling, block, len(task.buffers[block]))
    return Stopped(kernel, shape, task, block, record, cycle, memory, times, tuple(names))


def record_of(kernel: Kernel, program: Program, until: int | str) -> int:
    """Return the index of the record that is meant.

    Raises:
        DavinciError: there is none.
    """
    if isinstance(until, int) or until.lstrip("-").isdigit():
        number = int(until)
        if -len(program) <= number < len(program):
            return number % len(program)
        raise DavinciError(
            f"kernel {kernel.name}: there is no record {number}\n"
            f"  rule: the block's program has {len(program)} records, 0 to {len(program) - 1}\n"
            f"  next: davinci kernel show {kernel.name} prints them"
        )
    match = _LINE.match(until)
    if match is None:
        raise DavinciError(
            f"kernel {kernel.name}: {until!r} is no place in it\n"
            "  rule: a place is a record's number, or a line as gelu.py:57 or gelu.py:57:2\n"
            "  next: write --until 0, for example"
        )
    return _record_at(kernel, program, (match[1], int(match[2])), int(match[3] or 1))


def _record_at(kernel: Kernel, program: Program, place: tuple[str, int], turn: int) -> int:
    """Return the `turn`-th record of a line, from the end if negative."""
    meant = [key for key, source in program.sources.items() if _is_line(source, *place)]
    records = np.flatnonzero(np.isin(program.words[:, 0] >> 32 & 0xFFFFFFFF, meant))
    own = records[(program.words[records, 0] & 255) != BARRIER]  # others stand before instructions of a line
    records = own if len(own) else records
    index = turn - 1 if turn > 0 else turn
    if turn != 0 and -len(records) <= index < len(records):
        return int(records[index])
    lines = {source for source in program.sources.values() if source}
    shown = sorted(lines, key=lambda line: (abs(_number(line) - place[1]), line))[:MOST_SHOWN]
    raise DavinciError(
        f"kernel {kernel.name}: line {place[0]}:{place[1]} has no record {turn}\n"
        f"  rule: it emits {len(records)} in this block, numbered from 1\n"
        f"  next: lines that emit are {', '.join(sorted(shown, key=_number))}"
    )


def _is_line(source: str, file: str, line: int) -> bool:
    """Tell whether `kernels/gelu.py:57` is the line of a file given by its name or the end of its path."""
    path, _, number = source.rpartition(":")
    parts, wanted = PurePosixPath(path).parts, PurePosixPath(file).parts
    shorter = min(len(parts), len(wanted))
    return number == str(line) and shorter > 0 and parts[-shorter:] == wanted[-shorter:]


def _number(source: str) -> int:
    return int(source.rpartition(":")[2])


def _launch(task: Task, chip: Platform) -> Launch:
    return Launch(task.programs, block_cycles=int(chip.block_start_cycles))


def _block_times(task: Task, chip: Platform) -> list[Times]:
    """Return the times of every block's records, told by the compiled engine."""
    records = simulate_launches([_launch(task, chip)], chip).records
    cuts = np.cumsum([0, *map(len, task.programs)])
    columns = [records[name].astype(np.int64) for name in ("start", "end", "ready")]
    return [Times(*(column[first:last] for column in columns)) for first, last in pairwise(cuts)]


def _on_fast(task: Task, chip: Platform, gm: Bytes, block: int, record: int) -> tuple[int, Memory, Times]:
    """Let the results of all blocks arrive in the order of their times, up to the cycle of the record's."""
    times = _block_times(task, chip)
    cycle = int(times[block].ready[record])
    others = [number for number in range(len(times)) if number != block]
    for number in (*others, block):
        memory = new_memory(chip, gm)
        order = arrivals(times[number], cycle)
        wrong = execute(task.programs[number].words[order], 0, len(order), memory)
        if wrong >= 0:
            raise out_of_bounds(task.programs[number], int(order[wrong]))
    return cycle, memory, times[block]


def _on_reference(
    task: Task, chip: Platform, gm: Bytes, block: int, record: int
) -> tuple[int, Memory, Times]:
    """Let the SimPy model run until the record's result arrives, and to the end of that cycle."""
    from davinci_sim.chip.reference import ReferenceChip

    model = ReferenceChip([_launch(task, chip)], chip, new_l2(chip), gm)
    program, row = task.programs[block], int(model.first_rows[block]) + record
    while model.rows["ready"][row] == 0 and model.env.peek() < float("inf"):
        model.env.step()
    if model.rows["ready"][row] == 0:
        waiting = next((core for core in model.running.values() if core.program is program), None)
        core = waiting or model.running[min(model.running)]
        raise stuck(core.program, list(core.waiting.values()))
    (core,) = (core for core in model.running.values() if core.program is program)
    cycle = int(model.env.now)
    while model.env.peek() == cycle:
        model.env.step()
    assert core.memory is not None
    return cycle, core.memory, _times_of_model(task, chip, model.rows, block)


def _times_of_model(task: Task, chip: Platform, rows: npt.NDArray[np.void], block: int) -> Times:
    """Return the times of a block: the same as the compiled engine's, or as far as the model has come."""
    try:
        return _block_times(task, chip)[block]
    except Deadlock:
        first = sum(map(len, task.programs[:block]))
        mine = rows[first : first + len(task.programs[block])]
        known = mine["ready"] != 0
        return Times(*(np.where(known, mine[name], UNKNOWN) for name in ("start", "end", "ready")))
