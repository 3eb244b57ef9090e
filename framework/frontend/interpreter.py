"""Run the syntax tree of a function over symbolic values: what it does to tensors becomes IR.

Everything that is known (shapes, attributes, tuples, numbers) is computed by Python itself while compiling.
Statements stand here, expressions in `expressions`, conditions in `branches`, loops in `loops`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from davinci_sim.errors import DavinciError
from framework.frontend import branches, checks, loops, names, targets
from framework.frontend.expressions import Expressions
from framework.frontend.hints import STATEMENT_HINTS, STATEMENTS
from framework.frontend.scope import BROKEN, RESULT, RETURNED, SKIPPED, Frame
from framework.frontend.templates import put_together
from framework.frontend.values import Maybe
from framework.ir.builder import Builder


class Interpreter(Expressions):
    """Runs the body of one function."""

    def within(self, builder: Builder, given: dict[str, Any]) -> Interpreter:
        """Return an interpreter of the same function that works in another Func, under other names."""
        frame = Frame(self.frame.code, builder, given)
        frame.lines, frame.label = dict(self.frame.lines), self.frame.label
        return Interpreter(frame)

    def run(self, body: Sequence[ast.stmt]) -> Any:
        """Run the statements of a function; return its value."""
        self.block(body)
        found = self.frame.names
        returned = found.get(RETURNED, False)
        if returned is False:
            return None
        value = found[RESULT]
        if returned is not True:
            if isinstance(value, Maybe) and value.value is None:
                return None
            end = branches.joined(
                RESULT, (value, self.frame.lines.get(RESULT)), (None, None), what="returns give"
            )
            return self.resolve(RESULT, put_together(end, []))
        return self.resolve(RESULT, value.value if isinstance(value, Maybe) else value)

    def block(self, statements: Sequence[ast.stmt]) -> None:
        """Run statements up to the first that leaves: a return, break, continue or raise.

        Where it is known at run time only whether one has left, the others stand under that condition.
        """
        for at, statement in enumerate(statements):
            rest = statements[at + 1 :]
            if isinstance(statement, ast.If):
                self.frame.builder.source = self.source.line(statement)
                if branches.if_statement(self, statement, rest):
                    return
            else:
                self.execute(statement)
            has_left = branches.left(self.frame.names)
            if has_left is True:
                return
            if has_left is not False and rest:
                branches.unless(self, has_left, lambda rest=rest: self.block(rest))  # type: ignore[misc]
                return

    def execute(self, node: ast.stmt) -> None:
        """Run one statement."""
        rule = _STATEMENTS.get(type(node))
        if rule is None:
            word = type(node).__name__
            what, instead = STATEMENT_HINTS.get(word, (f"`{word.lower()}`", ""))
            raise self.source.unsupported(node, what, instead or STATEMENTS)
        outer, self.frame.builder.source = self.frame.builder.source, self.source.line(node)
        builder = self.frame.builder
        try:
            rule(self, node)
        except DavinciError as error:
            raise self.placed(error, node) from None
        finally:
            builder.source = outer

    def assign(self, target: ast.expr, value: Any) -> None:
        """Give a target a value."""
        targets.assign(self, target, value)

    def raise_unless(self, condition: Any, node: ast.Raise) -> None:
        """Compile a `raise` that is run when a condition is false."""
        self.frame.builder.source = self.source.line(node)
        checks.raise_unless(self, condition, node)

    def _expr(self, node: ast.Expr) -> None:
        if names.is_in_place(node) and targets.in_place(self, node):
            return
        self.evaluate(node.value)

    def _assign(self, node: ast.Assign) -> None:
        value = self.evaluate(node.value)
        for target in node.targets:
            self.assign(target, value)

    def _annassign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.evaluate(node.value))

    def _augassign(self, node: ast.AugAssign) -> None:
        targets.augmented(self, node)

    def _functiondef(self, node: ast.FunctionDef) -> None:
        value: Any = self.closure(node.name, node)
        for each in reversed(node.decorator_list):
            value = self.call(self.evaluate(each), [value], {})
        self.frame.assign(node.name, value)

    def _return(self, node: ast.Return) -> None:
        value = None if node.value is None else self.evaluate(node.value)
        self.frame.names[RETURNED] = True
        self.frame.assign(RESULT, value)

    def _delete(self, node: ast.Delete) -> None:
        for each in node.targets:
            if not isinstance(each, ast.Name):
                raise self.source.unsupported(each, "`del` of a part", "leave it out")
            self.evaluate(ast.copy_location(ast.Name(each.id, ast.Load()), each))
            del self.frame.names[each.id]


def _flag(name: str) -> Callable[[Interpreter, Any], None]:
    return lambda run, node: run.frame.names.__setitem__(name, True)


_STATEMENTS: dict[type[ast.stmt], Callable[[Interpreter, Any], None]] = {
    ast.Expr: Interpreter._expr,
    ast.Pass: lambda run, node: None,
    ast.Assign: Interpreter._assign,
    ast.AnnAssign: Interpreter._annassign,
    ast.AugAssign: Interpreter._augassign,
    ast.FunctionDef: Interpreter._functiondef,
    ast.Return: Interpreter._return,
    ast.Delete: Interpreter._delete,
    ast.While: loops.while_statement,
    ast.For: loops.for_statement,
    ast.Break: _flag(BROKEN),
    ast.Continue: _flag(SKIPPED),
    ast.Assert: checks.assert_statement,
    ast.Raise: checks.raise_statement,
}
