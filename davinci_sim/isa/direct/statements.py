"""Statements, and the function as a whole."""

import ast
from typing import Any

from davinci_sim.isa.direct.expressions import Call, Expressions
from davinci_sim.isa.direct.values import (
    INT,
    NONE,
    Untranslated,
    Value,
    is_number,
    part_types,
    tree_of,
    types,
)


class Translator(Expressions):
    """One function on its way to LLVM; `result` is what it returns, `repeats` tells whether it has loops."""

    def __init__(self, function: Any, kinds: tuple[Any, ...], call: Call) -> None:
        super().__init__(function.__globals__, call)
        self.tree, self.kinds = tree_of(function), kinds
        self.loops: list[tuple[str, str]] = []
        self.result: Any = None
        self.repeats = False

    def text(self, symbol: str) -> str:
        """Return the LLVM module of the function; then `result` is the type that it returns."""
        signature = self._take_arguments()
        self.statements(self.tree.body)
        if self.is_open:
            self._return(Value(NONE, ()))
        head = [
            f'define i32 @"{symbol}"(ptr noalias %ret, ptr noalias %exc{signature}) nounwind {{',
            "entry:",
        ]
        body = ["  " + line if not line.endswith(":") else line for line in self.body]
        return "\n".join(
            [*self.declared.values(), *head, *self.allocas, "  br label %start", "start:", *body, "}"]
        )

    def _take_arguments(self) -> str:
        given = self.tree.args
        if len(given.args) != len(self.kinds) or given.vararg or given.kwarg or given.kwonlyargs:
            raise Untranslated("its arguments")
        stored = {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name) and _is_stored(node)}
        text, number = "", 0
        for argument, kind in zip(given.args, self.kinds, strict=True):
            parts = []
            for llvm in part_types(kind):
                parts.append(f"%a{number}")
                text += f", {llvm} %a{number}"
                number += 1
            self.arguments[argument.arg] = Value(kind, tuple(parts))
        for name in stored & set(self.arguments):
            self.store(name, self.arguments.pop(name))
        return text

    def statements(self, nodes: list[ast.stmt]) -> None:
        """Translate one statement after the other; what follows a jump is never reached."""
        for node in nodes:
            if self.is_open:
                method = getattr(self, f"_do_{type(node).__name__.lower()}", None)
                if method is None:
                    raise Untranslated(f"{type(node).__name__} in line {node.lineno}")
                method(node)

    def _do_pass(self, _node: ast.Pass) -> None:
        """Nothing to do."""

    def _do_expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.expression(node.value)

    def _do_assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.assign(target, value)

    def _do_annassign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.value(node.value))

    def _do_augassign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            read: ast.expr = ast.copy_location(ast.Name(node.target.id, ast.Load()), node)
            self.assign(node.target, self.arithmetic(node.op, self.value(read), self.value(node.value)))
        elif isinstance(node.target, ast.Subscript):
            address = self.element(node.target)
            old = Value(INT, (self.op(f"load i64, ptr {address}"),))
            new = self.arithmetic(node.op, old, self.value(node.value))
            self.body.append(f"store i64 {self.integer(new)}, ptr {address}")
        else:
            raise Untranslated("what is assigned to")

    def assign(self, target: ast.expr, value: Value) -> None:
        """Set what stands left of `=`."""
        if isinstance(target, ast.Name):
            self.store(target.id, value)
        elif isinstance(target, ast.Tuple) and isinstance(value.kind, types.BaseTuple):
            items = self.items(value)
            if len(items) != len(target.elts):
                raise Untranslated("the lengths of two tuples")
            for each, item in zip(target.elts, items, strict=True):
                self.assign(each, item)
        elif isinstance(target, ast.Subscript):
            self.body.append(f"store i64 {self.integer(value)}, ptr {self.element(target)}")
        else:
            raise Untranslated("what is assigned to")

    def _do_return(self, node: ast.Return) -> None:
        self._return(Value(NONE, ()) if node.value is None else self.value(node.value))

    def _return(self, value: Value) -> None:
        if self.result is None:
            self.result = value.kind
        if self.result != value.kind:
            raise Untranslated("it returns two types")
        parts = value.parts or ("null",)
        kinds = part_types(value.kind) if value.parts else ["ptr"]
        for index, (llvm, part) in enumerate(zip(kinds, parts, strict=True)):
            self.body.append(
                f"store {llvm} {part}, ptr {self.op(f'getelementptr i64, ptr %ret, i64 {index}')}"
            )
        self.body.append("ret i32 0")
        self.is_open = False

    def _do_if(self, node: ast.If) -> None:
        yes, no, end = self.label(), self.label(), self.label()
        self.branch(self.test(node.test), yes, no)
        for label, nodes in ((yes, node.body), (no, node.orelse)):
            self.body.append(f"{label}:")
            self.is_open = True
            self.statements(nodes)
            self.jump(end)
        self.body.append(f"{end}:")
        self.is_open = True
        if _ends_both(node):
            self.body.append("unreachable")
            self.is_open = False

    def _do_while(self, node: ast.While) -> None:
        head, body, end = self.label(), self.label(), self.label()
        self._refuse_else(node)
        self.repeats = True
        self.at(head)
        self.branch(self.test(node.test), body, end)
        self.at(body)
        self.loop(node.body, head, end)
        self.jump(head)
        self.at(end)

    def loop(self, nodes: list[ast.stmt], again: str, end: str) -> None:
        """Translate the body of a loop; `continue` and `break` go to the labels."""
        self.loops.append((again, end))
        self.statements(nodes)
        self.loops.pop()

    def _do_break(self, _node: ast.Break) -> None:
        self.jump(self.loops[-1][1])

    def _do_continue(self, _node: ast.Continue) -> None:
        self.jump(self.loops[-1][0])

    def _do_for(self, node: ast.For) -> None:
        self._refuse_else(node)
        call = node.iter
        is_range = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"
        if not is_range:
            self._for_each(node, self.items(self.value(call)))
            return
        if "range" in self.scope or not isinstance(node.target, ast.Name):
            raise Untranslated("a loop over something else than a range")
        assert isinstance(call, ast.Call)
        bounds = [self.integer(self.value(each)) for each in call.args]
        start, end, step = [*(bounds if len(bounds) > 1 else ["0", *bounds]), "1"][:3]
        self.repeats = True
        self.count += 1
        counter = f"%c{self.count}"
        self.allocas.append(f"  {counter} = alloca i64")
        self.body.append(f"store i64 {start}, ptr {counter}")
        head, body, again, behind = self.label(), self.label(), self.label(), self.label()
        self.at(head)
        at = self.op(f"load i64, ptr {counter}")
        self.branch(self._is_before(at, end, step), body, behind)
        self.at(body)
        self.store(node.target.id, Value(INT, (at,)))
        self.loop(node.body, again, behind)
        self.at(again)
        self.body.append(f"store i64 {self.op(f'add i64 {at}, {step}')}, ptr {counter}")
        self.jump(head)
        self.at(behind)

    def _for_each(self, node: ast.For, items: list[Value]) -> None:
        end = self.label()
        for item in items:
            again = self.label()
            self.assign(node.target, item)
            self.loop(node.body, again, end)
            self.at(again)
        self.at(end)

    def _is_before(self, at: str, end: str, step: str) -> str:
        below = self.op(f"icmp slt i64 {at}, {end}")
        if is_number(step) and int(step) > 0:
            return below
        above = self.op(f"icmp sgt i64 {at}, {end}")
        rises, falls = self.op(f"icmp sgt i64 {step}, 0"), self.op(f"icmp slt i64 {step}, 0")
        return self.op(f"select i1 {rises}, i1 {below}, i1 {self.op(f'and i1 {falls}, {above}')}")

    def _refuse_else(self, node: ast.While | ast.For) -> None:
        if node.orelse:
            raise Untranslated("else after a loop")


def _is_stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _ends(nodes: list[ast.stmt]) -> bool:
    return any(isinstance(n, ast.Return | ast.Break | ast.Continue) or _ends_both(n) for n in nodes)


def _ends_both(node: ast.stmt) -> bool:
    """Tell whether nothing after a statement is reached."""
    return isinstance(node, ast.If) and bool(node.orelse) and _ends(node.body) and _ends(node.orelse)
