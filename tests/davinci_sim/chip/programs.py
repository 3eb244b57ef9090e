"""Random legal programs: all pipes, flags across pipes, barriers, transfers of all sizes."""

from __future__ import annotations

from hypothesis import strategies as st

from davinci_sim.core.program import Program
from davinci_sim.isa import (
    data_move,
    l0c_to_ub,
    load2d,
    mmad,
    pipe_barrier,
    set_flag,
    vadd,
    vexp,
    wait_flag,
)
from davinci_sim.isa import state as core_state
from davinci_sim.isa.pipes import Pipe
from davinci_sim.memory.spaces import Space

KIB = 1024
PIPES = (Pipe.V, Pipe.M, Pipe.MTE1, Pipe.MTE2, Pipe.MTE3)
GM, L1, L0A, L0B, L0C, UB = (
    int(space) << core_state.SPACE_SHIFT
    for space in (Space.GM, Space.L1, Space.L0A, Space.L0B, Space.L0C, Space.UB)
)
sizes = st.one_of(st.integers(1, 8), st.integers(9, 300), st.integers(301, 4000))
"""Blocks of 32 bytes: from single ones to more than the head of a transfer hides."""


@st.composite
def moves(draw):
    """Draw a record of one of the pipes, as (pipe, emitter, arguments)."""
    kind = draw(st.sampled_from(["load", "store", "fractals", "product", "add", "exp", "drain", "inside"]))
    burst, bursts = draw(sizes), draw(st.sampled_from([1, 1, 1, 2, 7]))
    gm = GM + 32 * draw(st.integers(0, 1 << 16)) * draw(st.sampled_from([1, 16]))
    repeat = draw(st.integers(1, 255))
    return {
        "load": (Pipe.MTE2, data_move, (UB, gm, bursts, burst, draw(st.integers(0, 20)), 0, 4)),
        "store": (Pipe.MTE3, data_move, (gm, UB, bursts, burst, 0, draw(st.integers(0, 20)), 4)),
        "inside": (Pipe.MTE3, data_move, (L1, UB, 1, burst, 0, 0, 4)),
        "fractals": (Pipe.MTE1, load2d, (draw(st.sampled_from([L0A, L0B])), L1, 1 + repeat % 100)),
        "product": (Pipe.M, mmad, (L0C, L0A, L0B, repeat, 16 * bursts, 32, draw(st.integers(0, 1)))),
        "add": (Pipe.V, vadd, (UB, UB + 32 * draw(st.integers(0, 16)), UB, repeat)),
        "exp": (Pipe.V, vexp, (UB, UB, repeat)),
        "drain": (Pipe.V, l0c_to_ub, (UB, L0C, 1, 1 + repeat % 40)),
    }[kind]


def emit(core, emitter, arguments):
    """Append one record; vector instructions get the whole mask."""
    if emitter in (vadd, vexp):
        *operands, repeat = arguments
        emitter(core, *operands, repeat=repeat, mask=128, dtype=0)
    elif emitter is data_move:
        dst, src, bursts, burst, src_gap, dst_gap, dtype = arguments
        data_move(core, dst, src, bursts, burst, src_gap, dst_gap, dtype=dtype)
    else:
        emitter(core, *arguments)


@st.composite
def programs(draw, most=40, mutate=False):
    """Draw a program: random work, and hand-offs whose flags balance and never deadlock."""
    core = core_state.new_core_state(512, [1 << 30] * core_state.SPACE_COUNT, 4)
    core_state.begin_block(core, 0, 1)
    pending: dict[tuple[int, int, int], int] = {}
    for _ in range(draw(st.integers(0, most))):
        what = draw(st.sampled_from(["work"] * 6 + ["set", "wait", "barrier", "all", "pair"]))
        pair = draw(st.sampled_from([(a, b) for a in (*PIPES, Pipe.S) for b in (*PIPES, Pipe.S) if a != b]))
        flag = (int(pair[0]), int(pair[1]), draw(st.integers(0, 3)))
        if what == "work":
            _, emitter, arguments = draw(moves())
            emit(core, emitter, arguments)
        elif what == "barrier":
            pipe_barrier(core, int(draw(st.sampled_from(PIPES))))
        elif what == "all":
            pipe_barrier(core, int(Pipe.ALL))
        elif flag in pending:
            wait_flag(core, *flag)
            del pending[flag]
        elif what in ("set", "pair"):
            set_flag(core, *flag)
            pending[flag] = 1
    for flag in pending:
        wait_flag(core, *flag)
    count = int(core.state[core_state.COUNT])
    assert core.state[core_state.ERROR_KIND] == core_state.NO_ERROR
    return Program(core.words[:count].copy(), {})
