"""Passes over the IR: each a function from Func to Func in a file of its own."""

from framework.passes.algebraic import algebraic
from framework.passes.constant_folding import constant_folding
from framework.passes.cse import cse
from framework.passes.dead_code import dead_code
from framework.passes.inline import inline
from framework.passes.pipelines import OPTIMIZE, run

__all__ = ["OPTIMIZE", "algebraic", "constant_folding", "cse", "dead_code", "inline", "run"]
