"""Run programs side by side on the SimPy model of a chip."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import simpy

from davinci_sim.chip.port import SharedPort
from davinci_sim.core.costs import costs_of
from davinci_sim.core.local import new_memory
from davinci_sim.core.order import deadlock
from davinci_sim.core.program import BY_OPCODE, Program
from davinci_sim.core.reference import Core
from davinci_sim.core.trace import TRACE_DTYPE, Trace
from davinci_sim.isa import PIPE_NAMES
from davinci_sim.platforms import Platform


def simulate(
    programs: Sequence[Program], platform: Platform, gm: npt.NDArray[np.uint8] | None = None
) -> Trace:
    """Run one program per core from cycle 0 and return every record's start and end.

    With `gm[bytes]` the data moves, too, when the simulated moves end; without it only time passes.

    Raises:
        Deadlock: pipes wait for flags that nobody sets.
        IllegalInstruction: a flag is set twice, or an operand leaves its memory.
    """
    env = simpy.Environment()
    port, costs = SharedPort(env, int(platform.hbm_bytes_per_cycle)), costs_of(platform)
    rows: list[tuple[int, int, int, int]] = []
    cores = []
    for index, program in enumerate(programs):
        memory = None if gm is None else new_memory(platform, gm)

        def log(record: int, start: int, end: int, core: int = index) -> None:
            rows.append((core, record, start, end))

        cores.append(
            Core(
                env,
                program,
                costs,
                port,
                log,
                int(platform.queue_depth),
                int(platform.dispatch_cycles),
                memory,
            )
        )
    env.run()
    for core in cores:
        if core.scalar_unit.is_alive:
            raise deadlock(core.program, sorted(core.waiting.values()), int(env.now))
    return _trace(rows, programs, platform)


def _trace(rows: list[tuple[int, int, int, int]], programs: Sequence[Program], platform: Platform) -> Trace:
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    records = np.zeros(len(table), dtype=TRACE_DTYPE)
    records["core"], records["index"], records["start"], records["end"] = table.T
    sources: dict[int, str] = {}
    for core, program in enumerate(programs):
        mine = table[:, 0] == core
        heads = program.words[table[mine, 1], 0]
        records["op"][mine], records["pipe"][mine] = heads & 255, (heads >> 8) & 255
        records["location"][mine] = (heads >> 32) & 0xFFFFFFFF
        sources.update(program.sources)
    order = np.lexsort((records["index"], records["start"], records["core"]))
    names = ["", *(BY_OPCODE[op].name for op in sorted(BY_OPCODE))]
    pipes = [PIPE_NAMES.get(code, "") for code in range(max(PIPE_NAMES) + 1)]
    return Trace(
        platform_name=platform.name, clock_hz=float(platform.clock_hz), records=records[order],
        op_names=tuple(names), pipe_names=tuple(pipes), sources=sources,
    )  # fmt: skip
