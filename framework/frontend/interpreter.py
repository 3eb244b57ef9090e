"""Run the syntax tree of a function over symbolic values: what it does to tensors becomes IR.

Everything else (shapes, attributes, tuples, numbers) is known while compiling and computed by Python itself.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from typing import Any

from davinci_sim.errors import DavinciError, nearest
from framework.frontend.hints import EXPRESSION_HINTS, STATEMENT_HINTS
from framework.frontend.scope import MISSING, Closure, Scope, symbolic
from framework.frontend.source import CompileError, located
from framework.ir.builder import Sym

Apply = Callable[[Any, Any, Sequence[Any], dict[str, Any]], Any]

BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.MatMult: operator.matmul,
}
UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: operator.contains(b, a),
    ast.NotIn: lambda a, b: not operator.contains(b, a),
}


class Interpreter:
    """Runs the body of one function; `apply` calls what the body calls."""

    def __init__(self, scope: Scope, apply: Apply) -> None:
        """Run in a scope."""
        self.scope = scope
        self.source = scope.source
        self.builder = scope.builder
        self._apply = apply

    def run(self, body: Sequence[ast.stmt]) -> Any:
        """Run statements up to the first return; return its value, None without one."""
        for statement in body:
            if isinstance(statement, ast.Return):
                return None if statement.value is None else self.evaluate(statement.value)
            self.execute(statement)
        return None

    def execute(self, node: ast.stmt) -> None:
        """Run one statement."""
        rule = getattr(self, f"_execute_{type(node).__name__.lower()}", None)
        if rule is None:
            what, instead = STATEMENT_HINTS.get(type(node).__name__, (f"`{type(node).__name__.lower()}`", ""))
            raise self.source.unsupported(node, what, instead or "assignments, calls and return")
        rule(node)

    def evaluate(self, node: ast.expr) -> Any:
        """Return the value of an expression; Parameters come as symbols."""
        rule = getattr(self, f"_evaluate_{type(node).__name__.lower()}", None)
        if rule is None:
            what, instead = EXPRESSION_HINTS.get(type(node).__name__, (f"`{type(node).__name__}`", ""))
            raise self.source.unsupported(node, what, instead or "arithmetic, calls, tuples and attributes")
        outer, self.builder.source = self.builder.source, self.source.line(node)
        try:
            return symbolic(self.builder, rule(node))
        except DavinciError as error:
            if not getattr(error, "is_located", False):
                error.args = (f"{error}\n{self.source.place(node)}",)
                error.is_located = True  # type: ignore[attr-defined]
            raise
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise located(f"{_text(error)}\n{self.source.place(node)}") from error
        finally:
            self.builder.source = outer

    # statements

    def _execute_expr(self, node: ast.Expr) -> None:
        self.evaluate(node.value)

    def _execute_pass(self, node: ast.Pass) -> None:
        """Do nothing."""

    def _execute_assign(self, node: ast.Assign) -> None:
        value = self.evaluate(node.value)
        for target in node.targets:
            self._assign(target, value)

    def _execute_annassign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assign(node.target, self.evaluate(node.value))

    def _execute_augassign(self, node: ast.AugAssign) -> None:
        if not isinstance(node.target, ast.Name):
            raise self.source.unsupported(node, "changing an attribute or an element", "return the new value")
        load = ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target)
        self._assign(
            node.target, self.evaluate(ast.copy_location(ast.BinOp(load, node.op, node.value), node))
        )

    def _execute_functiondef(self, node: ast.FunctionDef) -> None:
        if node.decorator_list:
            raise self.source.unsupported(
                node, "a decorator on a nested function", "call the decorator: f = grad(f)"
            )
        self.scope.names[node.name] = self._closure(node.name, node)

    def _assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.scope.names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(target, value)
        else:
            raise self.source.unsupported(
                target, "changing an attribute or an element", "return the new value"
            )

    def _unpack(self, target: ast.Tuple | ast.List, value: Any) -> None:
        if not isinstance(value, (tuple, list)):
            raise self.source.unsupported(target, f"unpacking {_describe(value)}", "unpack tuples only")
        if any(isinstance(each, ast.Starred) for each in target.elts):
            raise self.source.unsupported(target, "a starred target", "name every element")
        if len(target.elts) != len(value):
            raise self.source.unsupported(
                target,
                f"unpacking {len(value)} values into {len(target.elts)} names",
                "as many names as values",
            )
        for each, part in zip(target.elts, value, strict=True):
            self._assign(each, part)

    # expressions

    def _evaluate_constant(self, node: ast.Constant) -> Any:
        return node.value

    def _evaluate_name(self, node: ast.Name) -> Any:
        value = self.scope.find(node.id)
        if value is MISSING:
            close = nearest(node.id, self.scope.known())
            guess = f"; did you mean {' or '.join(close)}?" if close else "; assign it before it is used"
            raise CompileError(f"name {node.id!r} is not defined{guess}")
        return value

    def _evaluate_attribute(self, node: ast.Attribute) -> Any:
        owner = self.evaluate(node.value)
        if not hasattr(owner, node.attr):
            close = nearest(node.attr, [each for each in dir(owner) if not each.startswith("_")])
            guess = f"; did you mean {' or '.join(close)}?" if close else "; it must be set in __init__"
            raise CompileError(f"{_describe(owner)} has no attribute {node.attr!r}{guess}")
        return getattr(owner, node.attr)

    def _evaluate_call(self, node: ast.Call) -> Any:
        function = self.evaluate(node.func)
        args: list[Any] = []
        for each in node.args:
            if isinstance(each, ast.Starred):
                args.extend(self.evaluate(each.value))
            else:
                args.append(self.evaluate(each))
        kwargs: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value)
            kwargs.update(value if keyword.arg is None else {keyword.arg: value})
        self.builder.source = self.source.line(node)
        return self._apply(self.builder, function, args, kwargs)

    def _evaluate_binop(self, node: ast.BinOp) -> Any:
        if type(node.op) not in BINARY:
            name = type(node.op).__name__
            raise self.source.unsupported(node, f"the operator {name}", "+ - * / // % ** and @")
        return BINARY[type(node.op)](self.evaluate(node.left), self.evaluate(node.right))

    def _evaluate_unaryop(self, node: ast.UnaryOp) -> Any:
        if type(node.op) not in UNARY:
            raise self.source.unsupported(node, f"the operator {type(node.op).__name__}", "- + and not")
        return UNARY[type(node.op)](self.evaluate(node.operand))

    def _evaluate_compare(self, node: ast.Compare) -> Any:
        if len(node.ops) > 1:
            raise self.source.unsupported(node, "a chain of comparisons", "one comparison at a time")
        return COMPARE[type(node.ops[0])](self.evaluate(node.left), self.evaluate(node.comparators[0]))

    def _evaluate_tuple(self, node: ast.Tuple) -> Any:
        return tuple(self._elements(node.elts))

    def _evaluate_list(self, node: ast.List) -> Any:
        return self._elements(node.elts)

    def _elements(self, nodes: list[ast.expr]) -> list[Any]:
        found: list[Any] = []
        for each in nodes:
            if isinstance(each, ast.Starred):
                found.extend(self.evaluate(each.value))
            else:
                found.append(self.evaluate(each))
        return found

    def _evaluate_subscript(self, node: ast.Subscript) -> Any:
        owner = self.evaluate(node.value)
        return owner[self.evaluate(node.slice)]

    def _evaluate_slice(self, node: ast.Slice) -> Any:
        parts = [
            None if each is None else self.evaluate(each) for each in (node.lower, node.upper, node.step)
        ]
        return slice(*parts)

    def _evaluate_lambda(self, node: ast.Lambda) -> Any:
        return self._closure("lambda", node)

    def _closure(self, name: str, node: ast.FunctionDef | ast.Lambda) -> Closure:
        defaults = tuple(self.evaluate(each) for each in node.args.defaults)
        keywords = {
            each.arg: self.evaluate(default)
            for each, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            if default is not None
        }
        return Closure(name, node, self.scope, defaults, keywords)


def _text(error: Exception) -> str:
    text = str(error)
    for inner, shown in (("'Sym'", "a tensor"), ("Sym", "tensor")):
        text = text.replace(inner, shown)
    return text


def _describe(value: Any) -> str:
    return f"a tensor {value.type}" if isinstance(value, Sym) else f"a {type(value).__name__}"
