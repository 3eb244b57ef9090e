"""Small programs, written as text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from davinci_sim.chip.simulate import simulate
from davinci_sim.core.program import Program, parse
from davinci_sim.core.trace import Trace
from davinci_sim.platforms import Platform, assumed, platform

CHIP = platform("ascend910a").with_figures(
    "narrow", hbm_bytes_per_cycle=assumed(32, "B/cycle", "a test: a block a cycle from the device memory")
)
ADD = "PIPE_V vadd dst=UB+0x{d:x} src0=UB+0x{a:x} src1=UB+0x{b:x} mask=" + "f" * 32
ADD += " repeat={n} dst_blk=1 src0_blk=1 src1_blk=1 dst_rep=8 src0_rep=8 src1_rep=8 dtype=fp32"
LOAD = "PIPE_MTE2 data_move dst={space}+0x{d:x} src=GM+0x{s:x} nburst=1 burst_len={n}"
LOAD += " src_gap=0 dst_gap=0 dtype=uint8"

STORE = "PIPE_MTE3 data_move dst=GM+0x{d:x} src=UB+0x0 nburst=1 burst_len={n}"
STORE += " src_gap=0 dst_gap=0 dtype=uint8"
ENGINES = ("fast", "reference")


def add(n: int = 1, d: int = 0, a: int = 0, b: int = 0) -> str:
    """Write `n` repeats of vadd on UB."""
    return ADD.format(n=n, d=d, a=a, b=b)


def work(n: int = 1) -> str:
    """Write `n` repeats of vadd whose operands lie in different banks of UB."""
    return add(n, d=0x20000, b=0x100)


def load(blocks: int = 1, space: str = "UB", d: int = 0, s: int = 0) -> str:
    """Write a move of `blocks` from GM."""
    return LOAD.format(n=blocks, space=space, d=d, s=s)


def store(blocks: int = 1, d: int = 0) -> str:
    """Write a move of `blocks` from UB to GM."""
    return STORE.format(n=blocks, d=d)


def set_flag(src: int, dst: int, event: int = 0) -> str:
    """Write a set_flag between two pipes, by number."""
    names = {1: "S", 2: "V", 3: "M", 4: "MTE1", 5: "MTE2", 6: "MTE3"}
    return f"PIPE_{names[src]} set_flag src={src} dst={dst} event_id={event} dtype=int32"


def wait_flag(src: int, dst: int, event: int = 0) -> str:
    """Write a wait_flag between two pipes, by number."""
    names = {1: "S", 2: "V", 3: "M", 4: "MTE1", 5: "MTE2", 6: "MTE3"}
    return f"PIPE_{names[dst]} wait_flag src={src} dst={dst} event_id={event} dtype=int32"


def pipe_barrier(pipe: int) -> str:
    """Write a barrier of one pipe, by number."""
    names = {2: "V", 3: "M", 4: "MTE1", 5: "MTE2", 6: "MTE3"}
    return f"PIPE_{names[pipe]} pipe_barrier barred={pipe} dtype=int32"


BARRIER = "PIPE_ALL pipe_barrier barred=10 dtype=int32"


def program(*lines: str) -> Program:
    """Read lines to a program; each line knows its place as `kernel.py:<number>`."""
    return parse(
        "\n".join(f"{line}  # kernel.py:{number}" for number, line in enumerate(lines, start=1) if line)
    )


class Words:
    """The vocabulary of the programs in these tests."""

    S, V, M, MTE1, MTE2, MTE3 = 1, 2, 3, 4, 5, 6
    add = staticmethod(add)
    work = staticmethod(work)
    load = staticmethod(load)
    store = staticmethod(store)
    pipe_barrier = staticmethod(pipe_barrier)
    set_flag = staticmethod(set_flag)
    wait_flag = staticmethod(wait_flag)
    barrier = BARRIER
    program = staticmethod(program)


@pytest.fixture(scope="session")
def words() -> type[Words]:
    return Words


@pytest.fixture(scope="session")
def narrow() -> Platform:
    """Return a 910A whose device memory gives one block a cycle, so that L2 is seen by one core alone."""
    return CHIP


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Return the name of an engine; a test that asks for it runs on both."""
    return str(request.param)


@pytest.fixture(scope="session")
def trace_of(engine: str) -> Callable[..., Trace]:
    """Return a function that runs lines on one core (of a narrow 910A) on either engine."""

    def run(*lines: str, chip: Platform = CHIP) -> Trace:
        return simulate([program(*lines)], chip, engine=engine)

    return run
