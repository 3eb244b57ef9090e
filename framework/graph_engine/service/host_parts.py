"""What of a Func the device cannot run: recursion and functions as values, and what hangs on them."""

from __future__ import annotations

from collections.abc import Sequence

from framework.graph_engine.data.graph import HOST_PART
from framework.ir.control import APPLY, CLOSURE, ENV, UNENV, is_control
from framework.ir.nodes import Binding, Func, Rec, Var
from framework.ir.types import StackType, TensorType, Type

ONLY_ON_THE_HOST = (CLOSURE, APPLY, ENV, UNENV)


def with_host_parts(func: Func) -> Func:
    """Return the Func with neighbouring bindings that only the host can run in one binding.

    before  %f = closure(%a); %y = apply(%f, %x); %z = relu(%y)
    after   %y = host_part(%a, %x); %z = relu(%y)

    A binding that gives a stack to one of the host, or takes one from it, belongs to the host, too.
    """
    hosted = _hosted(func)
    if not any(hosted):
        return func
    bindings: list[Binding] = []
    start = 0
    while start < len(hosted):
        end = start + 1
        while hosted[start] and end < len(hosted) and hosted[end]:
            end += 1
        bindings.append(_part(func, start, end) if hosted[start] else func.bindings[start])
        start = end
    return func.with_body(tuple(bindings), func.results)


def _hosted(func: Func) -> list[bool]:
    """Tell of each binding whether the host runs it."""
    seen: dict[int, bool] = {}
    hosted = [_is_hosted(binding, seen) for binding in func.bindings]
    spread = True
    while spread:
        spread = False
        names = {
            name for binding, on in zip(func.bindings, hosted, strict=True) if on for name in _others(binding)
        }
        for number, binding in enumerate(func.bindings):
            if not hosted[number] and names & _others(binding):
                hosted[number] = spread = True
    return hosted


def _others(binding: Binding) -> set[str]:
    """Return the names of what a binding takes and gives beside tensors."""
    both = (*binding.inputs, *binding.outputs)
    return {each.name for each in both if isinstance(each, Var) and not isinstance(each.type, TensorType)}


def _is_hosted(binding: Binding, seen: dict[int, bool]) -> bool:
    """Tell whether the device cannot run a binding, or something inside of it."""
    types = [each.type for each in (*binding.inputs, *binding.outputs)]
    if binding.op in ONLY_ON_THE_HOST or not all(_has_place(each) for each in types):
        return True
    if not is_control(binding.op):
        return False
    return any(
        isinstance(each, Rec) or (isinstance(each, Func) and _holds_hosted(each, seen))
        for each in binding.attrs.values()
    )


def _holds_hosted(func: Func, seen: dict[int, bool]) -> bool:
    if id(func) not in seen:
        seen[id(func)] = False
        seen[id(func)] = any(_is_hosted(binding, seen) for binding in func.bindings)
    return seen[id(func)]


def _has_place(type_: Type) -> bool:
    """Tell whether values of a type can lie in device memory."""
    return isinstance(type_, TensorType) or (isinstance(type_, StackType) and _has_place(type_.element))


def _part(func: Func, start: int, end: int) -> Binding:
    """Return one binding for some of a Func."""
    bindings = func.bindings[start:end]
    made = {var: None for binding in bindings for var in binding.outputs}
    taken = {a: None for binding in bindings for a in binding.inputs if isinstance(a, Var) and a not in made}
    later = {a for binding in func.bindings[end:] for a in binding.inputs} | set(func.results)
    given = tuple(var for var in made if var in later)
    part = Func(f"{func.name}.{_named(bindings)}", tuple(taken), bindings, given)
    source = next((binding.source for binding in bindings if binding.source), None)
    return Binding(given, HOST_PART, tuple(taken), {"func": part}, source)


def _named(bindings: Sequence[Binding]) -> str:
    return "_".join(dict.fromkeys(binding.op for binding in bindings if is_control(binding.op))) or "part"
