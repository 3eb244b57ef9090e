"""How quick time is simulated: the compiled engine and the SimPy reference, contention on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.bench.data import task_of
from experiments.bench.registry import benchmark, median_seconds, python

if TYPE_CHECKING:
    from davinci_sim.chip.launch import Launch

_LARGE = 10_000_000
_SMALL = 10_000
_REST = "PIPE_ALL pipe_barrier barred=10 dtype=int32"
_MEMORY = """
import json
from experiments.bench.engines import peak_bytes, repeated
from davinci_sim.chip.simulate import simulate_launches
from davinci_sim.platforms import platform
chip = platform("ascend910a")
simulate_launches([repeated(10_000)], chip)
launch = repeated(2_000_000)
before = peak_bytes(forget=True)
trace = simulate_launches([launch], chip)
print(json.dumps([peak_bytes() - before, len(trace.records)]))
"""


def peak_bytes(forget: bool = False) -> int:
    """Return the most memory that this process has held (Linux), or from now on, if what was is forgotten."""
    if forget:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def repeated(instructions: int, cores: int = 32) -> Launch:
    """Return about so many instructions on so many cores: the blocks of a matmul, again and again.

    Between them the pipes come to rest, as between launches.
    """
    import numpy as np

    from davinci_sim.chip.launch import Launch
    from davinci_sim.core.program import Program, parse

    programs = task_of("matmul", m=1024, k=1024, n=1024).task.programs[:cores]
    times, rest = max(1, round(instructions / sum(map(len, programs)))), parse(_REST).words
    blocks = (np.tile(np.concatenate([one.words, rest]), (times, 1)) for one in programs)
    return Launch(tuple(Program(words, one.sources) for words, one in zip(blocks, programs, strict=True)))


def _seconds(launch: Launch, engine: str = "fast", repeats: int = 3) -> float:
    """Return the median time of simulating a launch from an empty L2."""
    from davinci_sim.chip.simulate import simulate_launches
    from davinci_sim.platforms import platform

    chip = platform("ascend910a")
    return median_seconds(lambda: simulate_launches([launch], chip, engine), repeats)


def _seconds_each(launch: Launch) -> float:
    """Return the median time per instruction."""
    return _seconds(launch) / sum(map(len, launch.programs))


@benchmark("x the reference's speed", at_least=100)
def engine_against_reference() -> float:
    """Simulate a matmul of 32 cores on both engines, in one run."""
    launch = repeated(_SMALL)
    return _seconds(launch, "reference") / _seconds(launch, repeats=9)


@benchmark("instructions/s")
def simpy_reference() -> float:
    """Simulate the time of a matmul on 32 cores with the reference, without data."""
    launch = repeated(_SMALL)
    return sum(map(len, launch.programs)) / _seconds(launch, "reference")


@benchmark("instructions/s", at_least=10e6)
def engine() -> float:
    """Simulate a million instructions of a matmul on 32 cores, on one core of the host."""
    return 1 / _seconds_each(repeated(1_000_000))


@benchmark("bytes/instruction", at_most=100)
def engine_memory() -> float:
    """Measure what the engine takes beside the program (64 bytes an instruction), trace included."""
    taken, count = json.loads(python("-c", _MEMORY)())
    return float(taken) / float(count)


@benchmark("x", at_most=1.5)
def growth_with_instructions() -> float:
    """Divide the time per instruction at 10 million by that at 10 thousand."""
    return _seconds_each(repeated(_LARGE)) / _seconds_each(repeated(_SMALL))


@benchmark("x", at_most=1.5)
def growth_with_cores() -> float:
    """Divide the time per instruction on 32 simulated cores by that on one, a million instructions each."""
    return _seconds_each(repeated(1_000_000)) / _seconds_each(repeated(1_000_000, cores=1))
