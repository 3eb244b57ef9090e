"""Conditions: what is known when compiling chooses, what is not becomes an `if` of the IR."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from davinci_sim.errors import DavinciError
from framework.dtypes import bool_
from framework.frontend import join
from framework.frontend.runner import Runner
from framework.frontend.scope import FLAGS, RESULT, Ended, Frame, Unsettled
from framework.frontend.templates import MAYBE, Node, Template, leaves_of, put_together, template_of
from framework.frontend.values import MISSING, Site, is_number, weak_constant
from framework.ir import flow
from framework.ir.builder import Builder, Sym
from framework.ir.nodes import SourceLine
from framework.ir.registry import operator
from framework.tensor import Parameter

TURNS = "the turns of a loop give"
ADVICE = "let a turn leave the type as it was, or write the turns out: for i in ops.unroll(range(3))"
VALUE = "value"
"""Name of the value of a conditional expression while its branches are compiled."""


class Side:
    """What one branch has come to: the names after it, and whether it goes on."""

    def __init__(self, frame: Frame) -> None:
        """Start as it is before the condition."""
        self.builder = Builder(frame.builder)
        self.names = dict(frame.names)
        self.lines: dict[str, SourceLine] = dict(frame.lines)
        self.ended: Ended | None = None

    def run(self, frame: Frame, statements: Callable[[], Any]) -> None:
        """Compile statements at the end of the branch."""
        with frame.inside(self.builder, self.names):
            frame.lines = self.lines
            try:
                statements()
            except Ended as ended:
                self.ended = ended
            self.names, self.lines = frame.names, frame.lines

    @property
    def leaves(self) -> Any:
        """Return whether what follows is not run: a truth, or a symbolic one."""
        if self.ended is not None:
            return True
        return left(self.names)


def left(names: dict[str, Any]) -> Any:
    """Return whether a return, break or continue was run: a truth, or a symbolic one."""
    flags = [names[flag] for flag in FLAGS if names.get(flag, False) is not False]
    if True in [each for each in flags if isinstance(each, bool)]:
        return True
    found: Any = False
    for each in flags:
        found = each if found is False else operator("logical_or")(found, each)
    return found


def truth(value: Any) -> bool | Sym:
    """Return the truth of a value: known, or a symbolic bool[]."""
    if isinstance(value, Parameter):
        raise DavinciError("the truth of a Parameter is asked for outside of compiled code")
    if not isinstance(value, Sym):
        return bool(value)
    if value.type.size != 1:
        raise DavinciError(
            f"the truth of a tensor {value.type} is not one truth\n"
            "  rule: a condition has one element\n"
            "  next: reduce it with ops.reduce_max or ops.reduce_min, or choose by element with ops.select"
        )
    found: Sym = operator("reshape")(value, ()) if value.type.shape else value
    if found.type.dtype != bool_:
        found = operator("not_equal")(found, weak_constant(found.builder, 0))
    return found


def negated(value: Any) -> Any:
    """Return `not` of a truth."""
    return operator("logical_not")(value) if isinstance(value, Sym) else not value


def both(a: Any, b: Any) -> Any:
    """Return `a and b` of two truths."""
    if isinstance(a, bool):
        return b if a else False
    if isinstance(b, bool):
        return a if b else False
    return operator("logical_and")(a, b)


def choose(run: Runner, condition: Any, then: Callable[[], Any], orelse: Callable[[], Any]) -> Any:
    """Return the value of one of two expressions; each is evaluated only when it is chosen."""
    if isinstance(condition, bool):
        return then() if condition else orelse()
    sides = [Side(run.frame), Side(run.frame)]
    for side, thunk in zip(sides, (then, orelse), strict=True):
        side.run(run.frame, lambda thunk=thunk: run.frame.assign(VALUE, thunk()))  # type: ignore[misc]
    merge(run, condition, *sides)
    return run.resolve(VALUE, run.frame.names.pop(VALUE))


def if_statement(run: Runner, node: ast.If, rest: Sequence[ast.stmt]) -> bool:
    """Compile an `if` with what follows it in its block; return whether the rest is compiled, too.

    Where one branch always leaves and the other goes on, the rest belongs to the other one.
    """
    condition = run.truth(node.test)
    if isinstance(condition, bool):
        run.block([*(node.body if condition else node.orelse), *rest])
        return True
    if len(node.body) == 1 and isinstance(node.body[0], ast.Raise) and not node.orelse:
        run.raise_unless(negated(condition), node.body[0])
        return False
    then, orelse = Side(run.frame), Side(run.frame)
    then.run(run.frame, lambda: run.block(node.body))
    orelse.run(run.frame, lambda: run.block(node.orelse))
    goes_on = [side for side in (then, orelse) if side.leaves is False]
    takes_rest = len(goes_on) == 1 and {then.leaves, orelse.leaves} == {True, False} and bool(rest)
    if takes_rest:
        goes_on[0].run(run.frame, lambda: run.block(rest))
    merge(run, condition, then, orelse)
    return takes_rest


def unless(run: Runner, condition: Any, statements: Callable[[], Any]) -> None:
    """Compile statements that are run when no return, break or continue was: the condition says if any."""
    if isinstance(condition, bool):
        if not condition:
            statements()
        return
    skipped, done = Side(run.frame), Side(run.frame)
    flags = [flag for flag in FLAGS if run.frame.names.get(flag, False) is not False]
    if len(flags) == 1 and condition is run.frame.names[flags[0]]:  # an inner break is no flag any more
        skipped.names[flags[0]] = True
    done.names.update({flag: False for flag in FLAGS})
    done.run(run.frame, statements)
    merge(run, condition, skipped, done)


def merge(run: Runner, condition: Sym, then: Side, orelse: Side) -> None:
    """Append the `if` of two branches; the names go on with what either gives."""
    frame = run.frame
    base = frame.names
    sides = (then, orelse)
    going = [side for side in sides if side.ended is None]
    templates = _joined(run, base, *(going if len(going) != 1 else going * 2)) if going else {}
    parts: list[flow.Part] = []
    for side, suffix in zip(sides, ("then", "orelse"), strict=True):
        found: list[Sym] = []
        for name, template in templates.items():
            value = MISSING if side.ended is not None else _value(side.names, name)
            join.lower(side.builder, value, template, found)
        parts.append(flow.Part(side.builder, found, f"{frame.label}.{suffix}"))
    results = flow.branch(frame.builder, condition, parts[0], parts[1])
    if not going:
        raise _outermost([side.ended for side in sides if side.ended is not None])
    frame.names = {**base, **_names_after(templates, results)}
    for name in templates:
        if frame.names[name] is MISSING:
            del frame.names[name]
        line = next((side.lines[name] for side in going if name in side.lines), frame.builder.source)
        if line is not None:
            frame.lines[name] = line


def _outermost(ends: list[Ended]) -> Ended:
    """Return what ends a path whose branches all end: what is not settled yet comes first."""
    return min(ends, key=lambda each: not isinstance(each, Unsettled))


def _names_after(templates: dict[str, Template], results: Sequence[Sym]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    at = 0
    for name, template in templates.items():
        count = sum(1 for _ in leaves_of(template))
        names[name] = put_together(template, results[at : at + count])
        at += count
    return names


def _value(names: dict[str, Any], name: str) -> Any:
    return names.get(name, False if name in FLAGS else MISSING)


def _joined(run: Runner, base: dict[str, Any], one: Side, other: Side) -> dict[str, Template]:
    """Return the templates of the names that the branches have changed."""
    found: dict[str, Template] = {}
    for name in dict.fromkeys((*one.names, *other.names)):
        a, b = _value(one.names, name), _value(other.names, name)
        if a is b and a is _value(base, name):
            continue
        found[name] = joined(name, (a, one.lines.get(name)), (b, other.lines.get(name)), run.site(name))
    return found


Assigned = tuple[Any, SourceLine | None]


def joined(
    name: str, one: Assigned, other: Assigned, site: Site | None = None, what: str = "branches give"
) -> Template:
    """Return the template of a variable after two paths, or that of a conflict."""
    templates = [template_of(value) for value, _ in (one, other)]
    lines = [line for _, line in (one, other)]
    return joined_templates(name, templates, lines, what, site)


def joined_templates(
    name: str,
    templates: Sequence[Template],
    lines: Sequence[SourceLine | None],
    what: str,
    site: Site | None = None,
) -> Template:
    """Return the template of a variable after two paths, or that of a conflict."""
    try:
        found = join.join(templates[0], templates[1], site)
    except join.Mismatch as mismatch:
        called = f"{name!r}: " if name.isidentifier() and name not in (VALUE, RESULT) else ""
        places = [line.place for line in dict.fromkeys(each for each in lines if each is not None)]
        advice = [f"  next: {ADVICE}"] if what == TURNS else []
        return join.conflict("\n".join([f"{called}{what} {mismatch}", *places, *advice]))
    if join.is_maybe(found) and isinstance(found, Node) and name != RESULT:
        line = next((each for each in lines if each is not None), None)
        inner, flag, where = found.children
        if where == template_of("") and line is not None:
            found = Node("object", MAYBE, (inner, flag, template_of(line.place)))
    return found


def as_truth(builder: Builder, value: Any) -> Sym:
    """Return a truth as a symbolic value."""
    return weak_constant(builder, value) if is_number(value) else builder.value(value)
