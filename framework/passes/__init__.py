"""Passes over the IR: each a function from Func to Func in a file of its own."""

from framework.passes.add_parts import add_parts
from framework.passes.algebraic import algebraic
from framework.passes.closure_conversion import closure_conversion
from framework.passes.constant_folding import constant_folding
from framework.passes.cse import cse
from framework.passes.dead_code import dead_code
from framework.passes.inline import flatten, inline
from framework.passes.loop_invariants import loop_invariants
from framework.passes.pipelines import FLAT, OPTIMIZE, run
from framework.passes.share import share
from framework.passes.spare_stacks import spare_stacks
from framework.passes.switch import switch
from framework.passes.tuple_elimination import tuple_elimination
from framework.passes.zeros import write_zeros

__all__ = [
    "FLAT",
    "OPTIMIZE",
    "add_parts",
    "algebraic",
    "closure_conversion",
    "constant_folding",
    "cse",
    "dead_code",
    "flatten",
    "inline",
    "loop_invariants",
    "run",
    "share",
    "spare_stacks",
    "switch",
    "tuple_elimination",
    "write_zeros",
]
