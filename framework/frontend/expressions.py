"""Expressions of compiled code."""

from __future__ import annotations

import ast
import functools
import operator as python
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError, nearest
from framework.frontend import branches, builtin, checks, dispatch, items, names
from framework.frontend.describe import describe, described
from framework.frontend.hints import EXPRESSION_HINTS, EXPRESSIONS
from framework.frontend.runner import Runner
from framework.frontend.scope import Ended, Unsettled
from framework.frontend.source import CompileError, located
from framework.frontend.templates import template_of
from framework.frontend.values import MISSING, Choice, Closure, Code, Conflict, Maybe, Text, symbolic
from framework.ir.builder import Sym
from framework.ir.control import is_control
from framework.ir.registry import operator
from framework.tensor import Parameter, Tensor

BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: python.add,
    ast.Sub: python.sub,
    ast.Mult: python.mul,
    ast.Div: python.truediv,
    ast.FloorDiv: python.floordiv,
    ast.Mod: python.mod,
    ast.Pow: python.pow,
    ast.MatMult: python.matmul,
    ast.BitAnd: python.and_,
    ast.BitOr: python.or_,
    ast.BitXor: python.xor,
    ast.LShift: python.lshift,
    ast.RShift: python.rshift,
}
UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: python.neg,
    ast.UAdd: python.pos,
    ast.Invert: python.invert,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: python.eq,
    ast.NotEq: python.ne,
    ast.Lt: python.lt,
    ast.LtE: python.le,
    ast.Gt: python.gt,
    ast.GtE: python.ge,
}
TENSORS = (Sym, Tensor)
VIEWS: Any = (type({}.items()), type({}.keys()), type({}.values()))
"""What methods of a dict return; a list of it is what compiled code goes over."""


class Expressions(Runner):
    """Evaluates expressions in a frame."""

    def evaluate(self, node: ast.expr) -> Any:
        """Return the value of an expression; Parameters come as symbols."""
        if isinstance(node, ast.Constant):
            return node.value
        rule = _EXPRESSIONS.get(type(node))
        if rule is None:
            word = type(node).__name__
            what, instead = EXPRESSION_HINTS.get(word, (f"`{word}`", ""))
            raise self.source.unsupported(node, what, instead or EXPRESSIONS)
        builder = self.frame.builder
        outer, builder.source = builder.source, self.source.line(node)
        try:
            return symbolic(builder, rule(self, node))
        except DavinciError as error:
            raise self.placed(error, node) from None
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise self.placed(CompileError(_text(error)), node) from None
        finally:
            builder.source = outer

    def placed(self, error: DavinciError, node: ast.AST) -> DavinciError:
        """Return an error with the place of a node, unless it has one; behind one in a layer, the user's."""
        line, found = self.source.line(node), getattr(error, "found_in", None)
        if found is None or (found.is_library and not line.is_library):
            error.args = (f"{error}\n{self.source.place(node)}",)
            error.found_in = line  # type: ignore[attr-defined]
        return error

    def truth(self, node: ast.expr) -> bool | Sym:
        """Return the truth of an expression: known, or a symbolic bool[]."""
        value = self.evaluate(node)
        try:
            return branches.truth(value)
        except DavinciError as error:
            raise self.placed(error, node) from None

    def call(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call a value."""
        return dispatch.apply(self.frame.builder, function, args, kwargs)

    def resolve(self, name: str, value: Any) -> Any:
        """Return the value that a name has where it is read.

        Raises:
            CompileError: the paths that lead here give it different types.
        """
        if isinstance(value, Conflict):
            raise located(value.message, self.source.line(self.frame.code.node))
        if isinstance(value, Maybe):
            checks.demand(self, value.is_assigned, checks.unassigned(name, value.where))
            return value.value
        return value

    def closure(self, name: str, node: ast.FunctionDef | ast.Lambda) -> Closure:
        """Return the function that a `def` or a lambda means."""
        defaults = tuple(self.evaluate(each) for each in node.args.defaults)
        keywords = {
            each.arg: self.evaluate(default)
            for each, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            if default is not None
        }
        return Closure(Code(name, self.source, node, self.frame.code.around), self.frame, defaults, keywords)

    def _name(self, node: ast.Name) -> Any:
        name = node.id
        is_own = name in names.own_names(self.frame.code.node)
        value = MISSING if is_own and name not in self.frame.names else self.frame.lookup(name)
        if value is MISSING:
            if name in self.frame.pending:
                raise Unsettled
            raise CompileError(self._undefined(name, is_own))
        resolved = self.resolve(name, value)
        if resolved is not value and name in self.frame.names:
            self.frame.names[name] = resolved
        return resolved

    def _undefined(self, name: str, is_own: bool) -> str:
        """Return the message for a name without a value."""
        later = names.assignment_of(self.frame.code.node, name) if is_own else None
        if later is not None:
            where = self.source.line(later).place
            return f"{name!r} is used before it is assigned\n  it is assigned here\n{where}\n  and used here"
        close = nearest(name, [each for each in self.frame.known() if not each.startswith("__")])
        guess = f"; did you mean {' or '.join(close)}?" if close else "; assign it before it is used"
        return f"name {name!r} is not defined{guess}"

    def _attribute(self, node: ast.Attribute) -> Any:
        return self._attribute_of(self.evaluate(node.value), node)

    def _attribute_of(self, owner: Any, node: ast.Attribute) -> Any:
        if isinstance(owner, Choice):
            return dispatch.of_choice(
                self.frame.builder,
                owner,
                lambda builder, each: symbolic(builder, self._attribute_of(each, node)),
            )
        if isinstance(owner, Sym) and node.attr == "item":
            return functools.partial(builtin.item, owner)
        found = getattr(type(owner), node.attr, None)
        if isinstance(found, property) and dispatch.is_user_code(found.fget):
            return self.call(found.fget, [owner], {})
        if not hasattr(owner, node.attr):
            close = nearest(node.attr, [each for each in dir(owner) if not each.startswith("_")])
            hint = "; it must be set in __init__" if hasattr(owner, "__dict__") else ""
            guess = f"; did you mean {' or '.join(close)}?" if close else hint
            raise CompileError(f"{described(owner)} has no attribute {node.attr!r}{guess}")
        return getattr(owner, node.attr)

    def _call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            return self._super()
        function = self.evaluate(node.func)
        args = self._elements(node.args)
        kwargs: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value)
            kwargs.update(value if keyword.arg is None else {keyword.arg: value})
        self.frame.builder.source = self.source.line(node)
        found = self.call(function, args, kwargs)
        return list(found) if isinstance(found, VIEWS) else found

    def _super(self) -> Any:
        owner = self.frame.lookup("__class__")
        spec = self.frame.code.node.args
        first = [*spec.posonlyargs, *spec.args][0].arg
        return super(owner, self.frame.lookup(first))

    def _binop(self, node: ast.BinOp) -> Any:
        return BINARY[type(node.op)](self.evaluate(node.left), self.evaluate(node.right))

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            return branches.negated(self.truth(node.operand))
        return UNARY[type(node.op)](self.evaluate(node.operand))

    def _boolop(self, node: ast.BoolOp) -> Any:
        return self._bool_operands(node.values, isinstance(node.op, ast.And))

    def _bool_operands(self, nodes: Sequence[ast.expr], is_and: bool) -> Any:
        """Return the first operand that decides, or the last one."""
        value = self.evaluate(nodes[0])
        if len(nodes) == 1:
            return value
        condition = branches.truth(value)

        def others() -> Any:
            return self._bool_operands(nodes[1:], is_and)

        if isinstance(condition, bool):
            return others() if condition == is_and else value
        return self._short_circuit(condition, value, others, is_and)

    def _short_circuit(self, condition: Sym, value: Any, others: Callable[[], Any], is_and: bool) -> Any:
        """Return `and` or `or` of what is known at run time: of two truths without effects, an operator."""
        if value is condition or value.atom is condition.atom:
            found = self._if_plain(others)
            if isinstance(found, Sym) and str(found.type) == "bool[]":
                return operator("logical_and" if is_and else "logical_or")(condition, found)
        if is_and:
            return branches.choose(self, condition, others, lambda: value)
        return branches.choose(self, condition, lambda: value, others)

    def _if_plain(self, thunk: Callable[[], Any]) -> Any:
        """Return a value that operators alone give, None for another one, which leaves no trace."""
        builder, names = self.frame.builder, dict(self.frame.names)
        before = builder.mark()
        try:
            found = thunk()
        except (DavinciError, Ended):
            found = None
        assigns = builder.mark().renewals != before.renewals
        is_plain = not any(is_control(each.op) for each in builder.since(before))
        if found is not None and is_plain and not assigns:
            return found
        builder.forget(before)
        self.frame.names = names
        return None

    def _ifexp(self, node: ast.IfExp) -> Any:
        condition = self.truth(node.test)
        return branches.choose(
            self,
            condition,
            lambda: self.evaluate(node.body),
            lambda: self.evaluate(node.orelse),
        )

    def _compare(self, node: ast.Compare) -> Any:
        return self._comparisons(self.evaluate(node.left), node.ops, node.comparators)

    def _comparisons(self, left: Any, ops: Sequence[ast.cmpop], nodes: Sequence[ast.expr]) -> Any:
        """Return a chain of comparisons: each operand is evaluated once, and only when those before hold."""
        right = self.evaluate(nodes[0])
        holds = self._comparison(ops[0], left, right)
        if len(ops) == 1:
            return holds
        condition = branches.truth(holds)

        def others() -> Any:
            return self._comparisons(right, ops[1:], nodes[1:])

        if isinstance(condition, bool):
            return others() if condition else holds
        return self._short_circuit(condition, holds, others, True)

    def _comparison(self, op: ast.cmpop, left: Any, right: Any) -> Any:
        if isinstance(op, (ast.Is, ast.IsNot)):
            is_same = left is right or (left is None) is (right is None) is True
            return is_same == isinstance(op, ast.Is)
        if isinstance(op, (ast.In, ast.NotIn)):
            found = self._contains(right, left)
            return branches.negated(found) if isinstance(op, ast.NotIn) else found
        if isinstance(op, (ast.Eq, ast.NotEq)) and type(left) is type(right) in (tuple, list):
            found = self._equal_items(left, right)
            return branches.negated(found) if isinstance(op, ast.NotEq) else found
        if isinstance(op, (ast.Eq, ast.NotEq)) and not self._are_comparable(left, right):
            return isinstance(op, ast.NotEq)
        return COMPARE[type(op)](left, right)

    def _equal_items(self, left: Sequence[Any], right: Sequence[Any]) -> Any:
        """Return whether two tuples or lists are equal, item by item."""
        if len(left) != len(right):
            return False
        found: Any = True
        for a, b in zip(left, right, strict=True):
            found = branches.both(found, branches.truth(self._comparison(ast.Eq(), a, b)))
        return found

    def _are_comparable(self, left: Any, right: Any) -> bool:
        """Tell whether == of two values means their numbers: a tensor never equals None or a string."""
        if not isinstance(left, Sym) and not isinstance(right, Sym):
            return True
        return all(
            isinstance(each, (*TENSORS, bool, int, float)) or hasattr(each, "dtype") for each in (left, right)
        )

    def _contains(self, owner: Any, value: Any) -> Any:
        if not isinstance(value, Sym) and not any(isinstance(each, Sym) for each in _elements_of(owner)):
            return value in owner
        found: Any = False
        for each in items.laid_out(self.frame.builder, owner, "in"):
            if not self._are_comparable(each, value):
                continue
            equal = branches.truth(each == value)
            if equal is True:
                return True
            if equal is not False:
                found = equal if found is False else operator("logical_or")(found, equal)
        return found

    def _tuple(self, node: ast.Tuple) -> Any:
        return tuple(self._elements(node.elts))

    def _list(self, node: ast.List) -> Any:
        return self._elements(node.elts)

    def _dict(self, node: ast.Dict) -> Any:
        found: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                found.update(self.evaluate(value))
                continue
            name = self.evaluate(key)
            if isinstance(name, Sym):
                raise self.source.unsupported(
                    key, "a key that is known at run time only", "a tensor and an index"
                )
            found[name] = self.evaluate(value)
        return found

    def _elements(self, nodes: Sequence[ast.expr]) -> list[Any]:
        found: list[Any] = []
        for each in nodes:
            if isinstance(each, ast.Starred):
                found.extend(items.laid_out(self.frame.builder, self.evaluate(each.value), "unpacking"))
            else:
                found.append(self.evaluate(each))
        return found

    def _subscript(self, node: ast.Subscript) -> Any:
        owner, index = self.evaluate(node.value), self.evaluate(node.slice)
        builder = self.frame.builder
        if isinstance(owner, items.LAZY):
            return items.item(builder, owner, index)
        is_constant = isinstance(owner, (Tensor, np.ndarray)) and not isinstance(owner, Parameter)
        if is_constant and _is_run_time(index):
            return builder.value(owner)[index]
        if isinstance(index, Sym) and isinstance(owner, (tuple, list, range)):
            return self._chosen(owner, index)
        if isinstance(index, Sym) and isinstance(owner, dict):
            raise self.source.unsupported(
                node, "a key that is known at run time only", "a tuple and an index, or conditions"
            )
        if isinstance(owner, dict) and index not in owner:
            keys = ", ".join(map(repr, owner)) or "none"
            raise CompileError(f"a dict has no key {index!r}; its keys are {keys}")
        return owner[index]

    def _chosen(self, owner: Sequence[Any], index: Sym) -> Any:
        """Return the item of a tuple at an index that is known at run time only."""
        if index.size != 1 or index.dtype.is_float:
            raise CompileError(
                f"the index of a {type(owner).__name__} is {index.type}; it must be one integer"
            )
        count = len(owner)
        builder = self.frame.builder
        index = builtin.item(index)
        place = operator("select")(index < 0, index + count, index)
        place = Sym(place.builder, place.atom, weak=True)
        is_inside = operator("logical_and")(place >= 0, place < count)
        checks.demand(self, is_inside, Text("IndexError: index {} is outside of " + str(count), (index,)))
        if isinstance(owner, range) or items.numbers_of(owner) is not None:
            return items.item(builder, owner, place)
        kinds = list(dict.fromkeys(describe(template_of(each)) for each in owner))

        def at(position: int) -> Any:
            if position == count - 1:
                return owner[position]
            return branches.choose(
                self,
                place == position,
                lambda: owner[position],
                lambda: at(position + 1),
            )

        try:
            return at(0)
        except CompileError:
            if len(kinds) == 1:
                raise
            raise CompileError(
                f"which item of a {type(owner).__name__} is meant is known at run time only\n"
                f"  rule: then all have one type, these have {', '.join(kinds)}"
            ) from None

    def _slice(self, node: ast.Slice) -> Any:
        parts = [
            None if each is None else self.evaluate(each) for each in (node.lower, node.upper, node.step)
        ]
        return slice(*parts)

    def _lambda(self, node: ast.Lambda) -> Any:
        return self.closure("lambda", node)

    def _joinedstr(self, node: ast.JoinedStr) -> Any:
        return checks.joined_text(self, node)

    def _namedexpr(self, node: ast.NamedExpr) -> Any:
        value = self.evaluate(node.value)
        self.frame.assign(node.target.id, value)
        return value

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp) -> Any:
        return [self.evaluate(node.elt) for _ in self._turns(node.generators)]

    def _dictcomp(self, node: ast.DictComp) -> Any:
        return {self.evaluate(node.key): self.evaluate(node.value) for _ in self._turns(node.generators)}

    def _setcomp(self, node: ast.SetComp) -> Any:
        return {self.evaluate(node.elt) for _ in self._turns(node.generators)}

    def _turns(self, generators: Sequence[ast.comprehension]) -> Iterator[None]:
        """Go through the turns of a comprehension; its names are its own."""
        first, rest = generators[0], generators[1:]
        outer = dict(self.frame.names)
        values = items.laid_out(self.frame.builder, self.evaluate(first.iter), "a comprehension")
        try:
            for each in values:
                self.assign(first.target, each)
                if not all(self._is_kept(condition) for condition in first.ifs):
                    continue
                if rest:
                    yield from self._turns(rest)
                else:
                    yield
        finally:
            self.frame.names = outer

    def _is_kept(self, node: ast.expr) -> bool:
        condition = self.truth(node)
        if isinstance(condition, Sym):
            raise self.source.unsupported(
                node, "a comprehension whose length depends on tensors", "ops.select, or a `for` with an `if`"
            )
        return condition


def _elements_of(owner: Any) -> Sequence[Any]:
    return owner if isinstance(owner, (tuple, list)) else ()


def _is_run_time(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(each, Sym) for each in parts)


def _text(error: Exception) -> str:
    text = str(error)
    for inner, outside in (("'Sym'", "a tensor"), ("Sym", "tensor"), ("Arithmetic.", "Tensor.")):
        text = text.replace(inner, outside)
    return text


_EXPRESSIONS: dict[type[ast.expr], Callable[[Expressions, Any], Any]] = {
    ast.Name: Expressions._name,
    ast.Attribute: Expressions._attribute,
    ast.Call: Expressions._call,
    ast.BinOp: Expressions._binop,
    ast.UnaryOp: Expressions._unaryop,
    ast.BoolOp: Expressions._boolop,
    ast.IfExp: Expressions._ifexp,
    ast.Compare: Expressions._compare,
    ast.Tuple: Expressions._tuple,
    ast.List: Expressions._list,
    ast.Dict: Expressions._dict,
    ast.Subscript: Expressions._subscript,
    ast.Slice: Expressions._slice,
    ast.Lambda: Expressions._lambda,
    ast.JoinedStr: Expressions._joinedstr,
    ast.NamedExpr: Expressions._namedexpr,
    ast.ListComp: Expressions._listcomp,
    ast.GeneratorExp: Expressions._listcomp,
    ast.DictComp: Expressions._dictcomp,
    ast.SetComp: Expressions._setcomp,
}
