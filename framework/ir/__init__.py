"""The functional IR: nodes, text, verifier, structural equality, evaluation and builder."""

from framework.ir.builder import Builder, Sym
from framework.ir.evaluate import evaluate
from framework.ir.nodes import Atom, Attr, Attrs, Binding, Const, Func, SourceLine, Var
from framework.ir.parser import parse_func
from framework.ir.printer import print_func
from framework.ir.structure import structural_hash, structurally_equal
from framework.ir.types import TensorType
from framework.ir.verify import verify

__all__ = [
    "Atom",
    "Attr",
    "Attrs",
    "Binding",
    "Builder",
    "Const",
    "Func",
    "SourceLine",
    "Sym",
    "TensorType",
    "Var",
    "evaluate",
    "parse_func",
    "print_func",
    "structural_hash",
    "structurally_equal",
    "verify",
]
