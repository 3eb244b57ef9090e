"""Loops: `while` and `for` become loops of the IR, whatever their trip counts.

The state of a loop is what its body assigns and somebody reads later. Its types are found by compiling the
body until they stay: what is a known number before the loop and another one after a turn is one of run
time.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from davinci_sim.errors import DavinciError
from framework.frontend import calls, items, join, names
from framework.frontend.branches import (
    TURNS,
    Side,
    as_truth,
    both,
    choose,
    joined_templates,
    left,
    negated,
    unless,
)
from framework.frontend.runner import Runner
from framework.frontend.scope import BROKEN, FLAGS, RESULT, RETURNED, SKIPPED, Ended, Unsettled
from framework.frontend.source import CompileError, located
from framework.frontend.templates import Template, leaves_of, put_together, template_of
from framework.frontend.values import MISSING, Maybe
from framework.ir import flow
from framework.ir.builder import Builder, Sym
from framework.ir.control import is_control

LIMIT = 12
"""How often a body is compiled before its types must have settled."""

SHOWN = {BROKEN: "broken", RETURNED: "returned"}
"""What the truths that leave a loop are called in its Func; its counter is called `turn`."""

Templates = dict[str, Template]


class Turn(NamedTuple):
    """A loop: whether there is a further turn, what a turn does, the names it starts with, its syntax."""

    goes_on: Callable[[], Any]
    run: Callable[[], None]
    hidden: dict[str, Any]
    node: ast.While | ast.For

    @property
    def kind(self) -> str:
        """Return the Python word."""
        return "while" if isinstance(self.node, ast.While) else "for"


def while_statement(run: Runner, node: ast.While) -> None:
    """Compile a `while`."""
    frame = run.frame
    first = _peek(run, node)
    if first is False:
        run.block(node.orelse)
        return

    def turn() -> None:
        run.block(node.body)
        frame.names[SKIPPED] = False

    outer = _enter(frame.names)
    _loop(run, Turn(lambda: run.truth(node.test), turn, {}, node), first is True)
    if first is True and _is_endless(node):
        _always_left(frame.names)
    _leave(run, node, outer)


def _peek(run: Runner, node: ast.While) -> Any:
    """Return the truth of the condition before the loop, without a trace of having asked."""
    builder, now = run.frame.builder, dict(run.frame.names)
    before = builder.mark()
    try:
        found = run.truth(node.test)
    except Ended:
        found = None
    builder.forget(before)
    run.frame.names = now
    return found if isinstance(found, bool) else None


def _is_endless(node: ast.While) -> bool:
    return isinstance(node.test, ast.Constant)


def _always_left(names_after: dict[str, Any]) -> None:
    """Note that a loop without an end of its own was left: by return, where it has no break."""
    if names_after[BROKEN] is False and names_after[RETURNED] is not False:
        names_after[RETURNED] = True


def for_statement(run: Runner, node: ast.For) -> None:
    """Compile a `for`."""
    frame = run.frame
    value = run.evaluate(node.iter)
    outer = _enter(frame.names)
    if isinstance(value, items.Unrolled):
        _written_out(run, node, items.laid_out(frame.builder, value.inner, "ops.unroll"))
    elif items.is_laid_out(value):
        _laid_out(run, node, items.laid_out(frame.builder, value, "for"))
    elif items.numbers_of(value) is not None:
        _tried(run, lambda: _counted(run, node, value), lambda: _calls(run, node, list(value)))
    else:
        _counted(run, node, value)
    _leave(run, node, outer)


def _enter(names_now: dict[str, Any]) -> dict[str, Any]:
    """Start without a break; return what is known of those of the loop around."""
    outer = {flag: names_now.get(flag, False) for flag in (BROKEN, SKIPPED)}
    names_now.update({BROKEN: False, SKIPPED: False})
    names_now.setdefault(RETURNED, False)
    return outer


def _leave(run: Runner, node: ast.While | ast.For, outer: dict[str, Any]) -> None:
    """Compile the `else` of a loop; its breaks are no longer those of what is around."""
    frame = run.frame
    broken = frame.names[BROKEN]
    frame.names.update({BROKEN: False, SKIPPED: False})
    if node.orelse:
        stopped = left({RETURNED: frame.names[RETURNED], BROKEN: broken})
        frame.names.update(outer)
        unless(run, stopped, lambda: run.block(node.orelse))
    else:
        frame.names.update(outer)


def _turn(run: Runner, node: ast.For, value: Any) -> None:
    """Compile a turn of a `for` with its item."""
    run.frame.builder.source = run.source.line(node)
    run.assign(node.target, value)
    run.block(node.body)
    run.frame.names[SKIPPED] = False


def _written_out(run: Runner, node: ast.For, values: Sequence[Any]) -> None:
    for at, each in enumerate(values):
        _turn(run, node, each)
        stopped = left(run.frame.names)
        if stopped is True:
            return
        if stopped is not False and at + 1 < len(values):
            unless(run, stopped, lambda at=at: _written_out(run, node, values[at + 1 :]))  # type: ignore[misc]
            return


def _counted(run: Runner, node: ast.For, value: Any) -> None:
    """Compile a loop that counts its turns."""
    frame = run.frame
    count = items.length(value)
    if isinstance(count, int) and count <= 1:
        _written_out(run, node, items.laid_out(frame.builder, value, "for"))
        return
    counter = f"turn@{node.lineno}:{node.col_offset}"

    def turn() -> None:
        now = frame.names[counter]
        _turn(run, node, items.item(frame.builder, value, now))
        frame.names[counter] = now + 1

    def goes_on() -> Any:
        return frame.names[counter] < count

    _loop(run, Turn(goes_on, turn, {counter: 0}, node), isinstance(count, int))
    del frame.names[counter]


def _laid_out(run: Runner, node: ast.For, values: Sequence[Any]) -> None:
    """Compile a loop over values of the program: a call of one Func per item.

    Numbers among the items count as known at run time, so that one Func serves all of them; where the body
    needs to know them when compiling, every number has its own.
    """
    if len(values) <= 1:
        _written_out(run, node, values)
        return
    counted = [items.counted(run.frame.builder, each) for each in values]
    _tried(run, lambda: _calls(run, node, counted), lambda: _calls(run, node, values))


def _tried(run: Runner, first: Callable[[], None], second: Callable[[], None]) -> None:
    """Compile a loop in one way, and in another one where that fails."""
    frame = run.frame
    builder, now, lines = frame.builder, dict(frame.names), dict(frame.lines)
    before = builder.mark()
    try:
        first()
    except DavinciError:
        builder.forget(before)
        frame.names, frame.lines = now, lines
        second()


def _calls(run: Runner, node: ast.For, values: Sequence[Any]) -> None:
    for at, each in enumerate(values):
        calls.call_block(run, node, each, lambda inner, value: _turn(inner, node, value))
        stopped = left(run.frame.names)
        if stopped is True:
            return
        if stopped is not False and at + 1 < len(values):
            unless(run, stopped, lambda at=at: _calls(run, node, values[at + 1 :]))  # type: ignore[misc]
            return


def state_of(run: Runner, node: ast.While | ast.For) -> list[str]:
    """Return the names that a loop's body assigns and that are read afterwards, in a later turn too."""
    targets = names.names_in(node.target) if isinstance(node, ast.For) else set()
    changed = names.assigned(node.body) | targets
    function = run.frame.code.node
    outside = names.reads(function) - _reads_of(node)
    needed = names.exposed(node.body, targets) | set(outside) | names.read_in_functions(function)
    needed |= set(names.reads(node.test)) if isinstance(node, ast.While) else set()
    flags = [BROKEN] if any(names.holds(each, ast.Break) for each in node.body) else []
    if any(names.holds(each, ast.Return) for each in node.body):
        flags += [RETURNED, RESULT]
    return [*sorted(changed & needed), *flags]


def _reads_of(node: ast.While | ast.For) -> Any:
    found = names.reads(node).copy()
    for each in node.orelse:
        found.subtract(names.reads(each))
    if isinstance(node, ast.For):
        found.subtract(names.reads(node.iter))
    return found


def _loop(run: Runner, turn: Turn, runs_at_least_once: bool = False) -> None:
    """Append the loop; the names go on with its last state."""
    frame = run.frame
    frame.names.update(turn.hidden)
    state = [*state_of(run, turn.node), *turn.hidden]
    entry = {name: frame.names.get(name, MISSING) for name in state}
    body, templates = _settled(run, turn, entry)
    head, now = _part(run, templates)
    with frame.inside(head, {**frame.names, **now}):
        condition = _condition(run, turn)
    results, init = _lowered(run, templates, entry, body)
    name = frame.label
    parts = (
        flow.Part(head, [condition], f"{name}.{turn.kind}_cond"),
        flow.Part(body.builder, results, f"{name}.{turn.kind}_body"),
    )
    outputs = flow.loop(frame.builder, init, *parts)
    after = _put(templates, outputs)
    if runs_at_least_once:
        _without_doubt(after, body)
    for name, value in after.items():
        if value is MISSING:
            frame.names.pop(name, None)
            continue
        frame.names[name] = value
        if name in body.lines:
            frame.lines[name] = body.lines[name]


def _without_doubt(names_now: dict[str, Any], body: Side) -> None:
    """Drop the doubt about what every turn assigns, for a loop that has a turn."""
    for name, value in names_now.items():
        if (
            isinstance(value, Maybe)
            and body.ended is None
            and not isinstance(body.names.get(name, value), Maybe)
        ):
            names_now[name] = value.value


def _lowered(
    run: Runner, templates: Templates, entry: dict[str, Any], body: Side
) -> tuple[list[Sym], list[Sym]]:
    """Return the state after a turn and the state before the loop."""
    results: list[Sym] = []
    init: list[Sym] = []
    for name, template in templates.items():
        join.lower(run.frame.builder, entry[name], template, init)
        after = MISSING if body.ended else body.names.get(name, MISSING)
        join.lower(body.builder, after, template, results)
    return results, init


def _condition(run: Runner, turn: Turn) -> Sym:
    """Return whether there is a further turn, in the builder of the loop's condition."""
    builder, now = run.frame.builder, run.frame.names
    stopped = left({flag: now.get(flag, False) for flag in FLAGS if flag != SKIPPED})
    going = negated(stopped)
    if going is False:
        return as_truth(builder, False)
    before = builder.mark()
    own = turn.goes_on()
    if going is True and own is True:
        place = run.source.place(turn.node)
        message = f"a loop without an end: its condition is always true\n{place}\n  next: add a break"
        raise located(message, run.source.line(turn.node))
    if going is True or not any(is_control(each.op) for each in builder.since(before)):
        return as_truth(builder, both(going, own))
    return as_truth(builder, choose(run, going, turn.goes_on, lambda: False))


def _settled(run: Runner, turn: Turn, entry: dict[str, Any]) -> tuple[Side, Templates]:
    """Return the body, compiled with a state whose types it keeps."""
    frame = run.frame
    counts = _counts(turn.node)
    templates = {
        name: join.weakened(value) if name in counts or name in turn.hidden else template_of(value)
        for name, value in entry.items()
    }
    pending = frozenset(name for name, value in entry.items() if value is MISSING)
    for _ in range(LIMIT):
        body = Side(run.frame)
        body.builder, now = _part(run, templates)
        body.names.update(now)
        body.names.update({flag: False for flag in FLAGS})
        for name in [name for name, each in body.names.items() if each is MISSING]:
            del body.names[name]
        frame.pending, outer = frame.pending | pending, frame.pending
        body.run(frame, turn.run)
        frame.pending = outer
        after = _after(run, body, templates, frame.lines)
        is_provisional = bool(pending) and isinstance(body.ended, Unsettled)
        pending = frozenset()
        if after == templates and not is_provisional:
            return body, templates
        templates = after
    raise CompileError(
        f"the types of {', '.join(map(repr, entry))} change with every turn of the loop\n"
        f"{run.source.place(turn.node)}\n  next: let a turn leave each variable in the type that it had"
    )


def _after(run: Runner, body: Side, templates: Templates, lines: Any) -> Templates:
    """Return the templates of the state before the loop or after a turn."""
    if body.ended is not None:
        return templates
    found = {}
    for name, template in templates.items():
        value = body.names.get(name, False if name in FLAGS else MISSING)
        places = (lines.get(name), body.lines.get(name))
        both_ways = (template, template_of(value))
        found[name] = joined_templates(name, both_ways, places, TURNS, run.site(name))
    return found


def _counts(node: ast.While | ast.For) -> set[str]:
    """Return the names that a turn assigns from what they were: counters and sums."""
    found: set[str] = set()
    for statement in node.body:
        for each in names.walk_here(statement):
            if isinstance(each, ast.AugAssign) and isinstance(each.target, ast.Name):
                found.add(each.target.id)
            elif isinstance(each, ast.Assign):
                stored = {name for target in each.targets for name in names.names_in(target)}
                found |= stored & set(names.reads(each.value))
    return found


def _part(run: Runner, templates: Templates) -> tuple[Builder, dict[str, Any]]:
    """Return a part of the loop, whose parameters are the state, and the state by name."""
    builder = Builder(run.frame.builder)
    params = [
        builder.param(leaf.type, name if name.isidentifier() else SHOWN.get(name, "turn"))
        for name, template in templates.items()
        for leaf in leaves_of(template)
    ]
    return builder, _put(templates, params)


def _put(templates: Templates, leaves: Sequence[Sym]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    at = 0
    for name, template in templates.items():
        count = sum(1 for _ in leaves_of(template))
        found[name] = put_together(template, leaves[at : at + count])
        at += count
    return found
