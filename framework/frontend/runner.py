"""What conditions, loops, calls and assignments ask of the interpreter of a function."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from framework.frontend.memo import calls_of
from framework.frontend.scope import Frame
from framework.frontend.values import Closure, Site
from framework.ir.builder import Builder, Sym


class Runner(ABC):
    """Runs the body of one function: expressions and statements in a frame."""

    def __init__(self, frame: Frame) -> None:
        """Work in a frame."""
        self.frame = frame
        self.source = frame.source

    @abstractmethod
    def evaluate(self, node: ast.expr) -> Any:
        """Return the value of an expression; Parameters come as symbols."""

    @abstractmethod
    def truth(self, node: ast.expr) -> bool | Sym:
        """Return the truth of an expression: known, or a symbolic bool[]."""

    @abstractmethod
    def call(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call a value."""

    @abstractmethod
    def resolve(self, name: str, value: Any) -> Any:
        """Return the value that a name has where it is read.

        Raises:
            CompileError: the paths that lead here give it different types.
        """

    def site(self, name: str) -> Site:
        """Return where functions of run time that a variable holds come from."""
        return calls_of(self.frame.builder).site((self.frame.code.node, name))

    @abstractmethod
    def closure(self, name: str, node: ast.FunctionDef | ast.Lambda) -> Closure:
        """Return the function that a `def` or a lambda means."""

    @abstractmethod
    def assign(self, target: ast.expr, value: Any) -> None:
        """Give a target a value."""

    @abstractmethod
    def block(self, statements: Sequence[ast.stmt]) -> None:
        """Run statements up to the first that leaves: a return, break, continue or raise.

        Where it is known at run time only whether one has left, the others stand under that condition.
        """

    @abstractmethod
    def raise_unless(self, condition: Any, node: ast.Raise) -> None:
        """Compile a `raise` that is run when a condition is false."""

    @abstractmethod
    def within(self, builder: Builder, given: dict[str, Any]) -> Runner:
        """Return an interpreter of the same function that works in another Func, under other names."""
