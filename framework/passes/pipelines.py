"""The order of the passes, and running them with a check after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from framework.host.depth import deep
from framework.ir.nodes import Func
from framework.ir.verify import Verifier
from framework.passes.add_parts import add_parts
from framework.passes.algebraic import algebraic
from framework.passes.closure_conversion import closure_conversion
from framework.passes.constant_folding import constant_folding
from framework.passes.cse import cse
from framework.passes.dead_code import dead_code
from framework.passes.inline import flatten, inline
from framework.passes.loop_invariants import loop_invariants
from framework.passes.share import share
from framework.passes.spare_stacks import spare_stacks
from framework.passes.switch import switch
from framework.passes.tuple_elimination import tuple_elimination
from framework.passes.zeros import write_zeros

Pass = Callable[[Func], Func]

OPTIMIZE: tuple[Pass, ...] = (
    inline,
    closure_conversion,
    constant_folding,
    switch,
    tuple_elimination,
    algebraic,
    add_parts,
    share,
    cse,
    loop_invariants,
    spare_stacks,
    dead_code,
)
"""Inline first, since the others see more then; sweep last. The round is repeated until nothing changes."""

FLAT: tuple[Pass, ...] = (flatten, *OPTIMIZE[1:])
"""The same without a call left, for what runs straight-line code: nothing is shared, so it takes longer."""

MOST_ROUNDS = 12
"""Each round opens one more level of closures and branches; what nests deeper stays as it is then."""


def run(
    func: Func, pipeline: Sequence[Pass] = OPTIMIZE, watch: Callable[[str, Func], None] | None = None
) -> Func:
    """Return the Func after the passes, in rounds until nothing changes; zeros are written then.

    It is verified after each pass. `watch(pass name, Func)` sees each step of the first round, and of later
    ones those that change something.
    """
    verifier = Verifier()
    with deep():  # passes call themselves for what is nested in a Func
        func = verifier.verify(func)
        for count in range(MOST_ROUNDS):
            before = func
            for each in pipeline:
                func = _step(func, each, verifier, watch, always=count == 0)
            if func is before:
                func = _step(func, write_zeros, verifier, watch, always=False)
            if func is before:
                break
    return func


def _step(
    func: Func, each: Pass, verifier: Verifier, watch: Callable[[str, Func], None] | None, always: bool
) -> Func:
    after = each(func)
    if after is not func:
        verifier.verify(after)
    if watch is not None and (always or after is not func):
        watch(each.__name__, after)
    return after
