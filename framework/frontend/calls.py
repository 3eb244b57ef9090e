"""Calls in compiled code: user functions become Funcs that are called, equal calls share one Func.

A Func is made once per source, template of what goes in, and types. Whatever it uses of the program around
goes in: arguments, the values around a nested function, the Parameters of Cells. So layers of equal
structure share a Func and bring their Parameters along.

A function that calls itself is compiled until its results are known: a path that needs them ends the first
time, and takes them as the other paths have given them the next. Numbers that change from call to call are
numbers of run time from the second call on.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from framework.frontend import join, names
from framework.frontend.memo import Activation, Calls, Entry, Given, Piece, Value, calls_of
from framework.frontend.runner import Runner
from framework.frontend.scope import FLAGS, Ended, Unsettled
from framework.frontend.source import CompileError
from framework.frontend.templates import Known, Node, Run, Taker, Template, leaves_of, put_together
from framework.frontend.values import MISSING, Site, is_number
from framework.ir.builder import Builder, Sym
from framework.ir.control import Signature
from framework.ir.lines import chain
from framework.ir.nodes import CALL, Rec
from framework.tensor import Parameter

DEEPEST_CALL = 100
MUCH = 2000
"""Tensors in the arguments of a function that calls itself, before it is asked whether they ever grow."""
LIMIT = 12
"""How often a function that calls itself is compiled before its results must have settled."""


def call(builder: Builder, piece: Piece, value: Value) -> Any:
    """Call a piece of source with arguments, keywords and a function; return its result."""
    calls = calls_of(builder)
    given = calls.given(piece, value)
    given, active = _recurring(calls, builder, piece, given)
    if active is not None:
        return _call_again(calls, builder, active, given)
    key = (piece.key, given.template)
    entry = calls.found(key)
    if entry is None:
        entry = _made(calls, builder, piece, given)
        calls.keep(key, entry)
    operands = [*given.leaves, *_parameters(entry.parameters, given)]
    outputs = builder.bind(CALL, operands, {"func": entry.func}, _known(entry.within))
    if entry.ends:
        raise Ended
    own = len(outputs) - len(entry.renewed)
    for parameter, new in zip(_parameters(entry.renewed, given), outputs[own:], strict=True):
        builder.renew(parameter, new)
    return put_together(entry.result, outputs[:own])


def _known(within: frozenset[Activation]) -> dict[str, Signature]:
    return {each.name: each.signature() for each in within if each.result is not None}


def _parameters(places: Sequence[int | Parameter], given: Given) -> list[Parameter]:
    return [given.parameters[each] if isinstance(each, int) else each for each in places]


def _recurring(calls: Calls, builder: Builder, piece: Piece, given: Given) -> tuple[Given, Activation | None]:
    """Return the call under way that this one repeats, if any, and what goes in, in a form that it takes."""
    for active in reversed(calls.stack):
        if active.piece.key != piece.key:
            continue
        if active.template == given.template:
            return given, active
        try:
            site = calls.site((piece.key, "argument"))
            wider = _widened_call(active.template, given.template, site)
        except join.Mismatch:
            continue
        if wider != given.template:
            given = _lowered(builder, given, wider)
        if wider == active.template:
            return given, active
    return given, None


def _widened_call(before: Template, now: Template, site: Site) -> Template:
    """Return the template of a call, as `_widened` does; the function that is called stays itself."""
    if not isinstance(before, Node) or not isinstance(now, Node):
        raise join.Mismatch(before, now)
    *inputs, function = now.children
    *inputs_before, function_before = before.children
    found = [_widened(a, b, site) for a, b in zip(inputs_before, inputs, strict=True)]
    if function_before != function:
        function = _widened_parts(function_before, function, site)
    return Node(now.kind, now.static, (*found, function))


def _widened(before: Template, now: Template, site: Site) -> Template:
    """Return the template of a call whose numbers differ from one under way: they are known at run time.

    Functions that hold one another, one more with every call, become functions of run time.

    Raises:
        Mismatch: more than this differs.
    """
    if before == now:
        return now
    if join.is_function(before) and join.is_function(now):
        joined = join.join(before, now, site)
        if isinstance(joined, Node) and joined.kind == "function":
            return joined
    if isinstance(before, Node):
        return _widened_parts(before, now, site)
    for each in (before, now):
        if not isinstance(each, Run) and not (isinstance(each, Known) and is_number(each.value)):
            raise join.Mismatch(before, now)
        if isinstance(each, Known) and isinstance(each.value, bool):
            raise join.Mismatch(before, now)
    return join.join(before, now)


def _widened_parts(before: Template, now: Template, site: Site) -> Template:
    if not isinstance(before, Node) or not isinstance(now, Node):
        raise join.Mismatch(before, now)
    if (before.kind, before.static, len(before.children)) != (now.kind, now.static, len(now.children)):
        raise join.Mismatch(before, now)
    pairs = zip(before.children, now.children, strict=True)
    return Node(now.kind, now.static, tuple(_widened(a, b, site) for a, b in pairs))


def _lowered(builder: Builder, given: Given, wider: Template) -> Given:
    """Return what goes into a call in the form of a wider template."""
    leaves: list[Sym] = []
    join.lower(
        builder,
        put_together(given.template, [builder.value(each) for each in given.leaves]),
        wider,
        leaves,
    )
    paths = given.paths if len(given.paths) == len(leaves) else [""] * len(leaves)
    return Given(wider, list(leaves), paths, given.parameters)


def _call_again(calls: Calls, builder: Builder, active: Activation, given: Given) -> Any:
    """Call a Func that is being made."""
    if not active.is_recursive:
        active.is_recursive = True
        active.name = f"{active.piece.name}_{next(calls.numbers)}"
    calls.note(frozenset([active]))
    active.within.add(active)
    if active.result is None:
        active.circle = calls.chain(builder, active)
        raise Unsettled(active)
    operands = [*given.leaves, *_parameters(active.parameters, given)]
    known = {active.name: active.signature()}
    outputs = builder.bind(CALL, operands, {"func": Rec(active.name)}, known)
    return put_together(active.result, outputs)


def _made(calls: Calls, builder: Builder, piece: Piece, given: Given) -> Entry:
    """Make the Func of a piece of source."""
    if len(calls.stack) >= DEEPEST_CALL or _grows(calls, piece, given):
        raise CompileError(
            f"calls are nested more than {len(calls.stack)} deep at {piece.name}: a function that calls "
            "itself with arguments of other types each time does not end here\n"
            "  next: let the arguments of the inner call have the types of the outer one's\n"
            + "\n".join(chain(calls.chain(builder)))
        )
    active = Activation(piece, given.template, builder.source)
    calls.stack.append(active)
    try:
        for _ in range(LIMIT):
            entry = _attempt(calls, builder, active, given)
            if entry is not None:
                return entry
    finally:
        calls.stack.pop()
    raise CompileError(f"the type of what {piece.name} returns changes with every call of itself")


def _grows(calls: Calls, piece: Piece, given: Given) -> bool:
    """Tell whether a function hands much more to itself than it was given: tuples of tuples, for example."""
    first = next((each for each in calls.stack if each.piece.key == piece.key), None)
    return first is not None and len(given.leaves) > max(MUCH, 2 * sum(1 for _ in leaves_of(first.template)))


def _attempt(calls: Calls, builder: Builder, active: Activation, given: Given) -> Entry | None:
    """Compile the body once; return None when it has to be compiled again with what is known by now."""
    active.memo.clear()
    active.within.clear()
    inner = func_builder(builder)
    params = [
        inner.param(leaf.type, path if path.isidentifier() else None)
        for leaf, path in zip(leaves_of(given.template), given.paths, strict=True)
    ]
    for parameter in _parameters(active.parameters, given):
        inner.parameter(parameter)
    active.types = [param.type for param in inner.params]
    template, leaves, ends = _run(calls, active, inner, put_together(given.template, params))
    places = {id(each): at for at, each in enumerate(given.parameters)}
    parameters = tuple(places.get(id(each), each) for each in inner.parameters.values())
    if active.is_recursive:
        _refuse_assignments(active, inner)
        joined = template if active.result is None else _join_results(calls, active, template)
        if (joined, parameters) != (active.result, active.parameters):
            active.result, active.parameters = joined, parameters
            return None
    within = frozenset(active.within - {active})
    renewed = tuple(places.get(id(each), each) for each, _ in inner.renewed)
    func = inner.finish(active.name, [*leaves, *(value for _, value in inner.renewed)])
    return Entry(func, template, parameters, ends, within, renewed)


def _refuse_assignments(active: Activation, inner: Builder) -> None:
    for parameter, _ in inner.renewed:
        raise CompileError(
            f"{active.piece.name} calls itself and assigns {parameter!r}\n"
            "  next: return the new value, and call ops.assign where the first call is made"
        )


def _run(calls: Calls, active: Activation, inner: Builder, value: Any) -> tuple[Template, list[Sym], bool]:
    """Return the template and the leaves of a result, and whether the body always raises."""
    try:
        result = active.piece.body(inner, value)
    except Unsettled as ended:
        if ended.activation is not active:
            raise
        raise CompileError(
            f"{active.piece.name} calls itself on every path, so it never ends\n"
            + "\n".join(chain(active.circle))
            + "\n  next: return something without a further call under some condition"
        ) from None
    except Ended:
        return Node("tuple", None, ()), [], True
    outward = Taker(True)
    crossed = outward.take(result)
    value = put_together(crossed, [inner.value(each) for each in outward.leaves])
    taker = Taker(False)
    template = taker.take(value)
    if active.result is None or not active.is_recursive:
        return template, taker.leaves, False
    joined = _join_results(calls, active, template)
    leaves: list[Sym] = []
    join.lower(inner, value, joined, leaves)
    return joined, leaves, False


def _join_results(calls: Calls, active: Activation, template: Template) -> Template:
    assert active.result is not None
    try:
        return join.join(active.result, template, calls.site((active.piece.key, "result")))
    except join.Mismatch as mismatch:
        raise CompileError(
            f"{active.piece.name} returns {mismatch}: a function that calls itself returns one type"
        ) from None


def func_builder(outer: Builder) -> Builder:
    """Return the builder of a Func of its own in the same compilation."""
    inner = Builder()
    inner.calls, inner.stages = outer.calls, outer.stages
    inner.depth = outer.depth + 1
    inner.source = outer.source
    return inner


def call_block(run: Runner, node: ast.For, value: Any, turn: Callable[[Runner, Any], None]) -> None:
    """Run a turn of a loop as a Func of its own: its names go in, those that it has changed come out."""
    frame = run.frame
    read = set().union(*(names.reads(each) for each in node.body)) | names.assigned(node.body)
    inward = {name: frame.find(name) for name in sorted(read)}
    own = names.names_in(node.target) - names.exposed(node.body, names.names_in(node.target))
    inward = {name: each for name, each in inward.items() if each is not MISSING and name not in own}
    outward = sorted(names.assigned(node.body) | names.names_in(node.target))

    def body(builder: Builder, given: Any) -> Any:
        (each,), inside, _ = given
        inner = run.within(builder, {**inside, **{flag: False for flag in FLAGS}})
        turn(inner, each)
        after = inner.frame.names
        kept = [*outward, *FLAGS[:2], "return"]
        return {name: after[name] for name in kept if name in after}

    piece = Piece(f"{frame.label}.for_item", (node, "item"), body)
    frame.names.update(call(frame.builder, piece, ((value,), inward, None)))
    for name in outward:
        if frame.builder.source is not None:
            frame.lines[name] = frame.builder.source
