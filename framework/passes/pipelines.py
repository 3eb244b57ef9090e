"""The order of the passes, and running them with a check after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from framework.ir.nodes import Func
from framework.ir.verify import verify
from framework.passes.algebraic import algebraic
from framework.passes.constant_folding import constant_folding
from framework.passes.cse import cse
from framework.passes.dead_code import dead_code
from framework.passes.inline import inline

Pass = Callable[[Func], Func]

OPTIMIZE: tuple[Pass, ...] = (inline, constant_folding, algebraic, cse, algebraic, dead_code)
"""Inline first, since the others look at operators only; simplify again what CSE has joined; sweep last."""


def run(
    func: Func, pipeline: Sequence[Pass] = OPTIMIZE, watch: Callable[[str, Func], None] | None = None
) -> Func:
    """Return the Func after all passes, verified after each; `watch(pass name, Func)` sees each step."""
    verify(func)
    for each in pipeline:
        func = verify(each(func))
        if watch is not None:
            watch(each.__name__, func)
    return func
