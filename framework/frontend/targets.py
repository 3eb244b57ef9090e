"""Assignment: names, tuples with a starred part, and functional updates `x[i] = v`, which rebind x."""

from __future__ import annotations

import ast
import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

from davinci_sim.errors import DavinciError
from framework.frontend import items
from framework.frontend.names import base_name
from framework.frontend.runner import Runner
from framework.frontend.templates import parts_of
from framework.ir.builder import Sym
from framework.ir.registry import operator
from framework.ir.subscript import taken_apart
from framework.tensor import Tensor

INSTEAD = "return the new value"


def assign(run: Runner, target: ast.expr, value: Any) -> None:
    """Give a target a value."""
    if isinstance(target, ast.Name):
        run.frame.assign(target.id, value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        _unpack(run, target, value)
    elif isinstance(target, ast.Subscript):
        owner = run.evaluate(loaded(target.value))
        _alone(run, target, owner)
        assign(run, target.value, updated(run, target, owner, run.evaluate(target.slice), value))
    elif isinstance(target, ast.Attribute):
        owner = run.evaluate(loaded(target.value))
        if not dataclasses.is_dataclass(owner) or parts_of(owner) is None:
            raise run.source.unsupported(target, "changing an attribute", INSTEAD)
        _alone(run, target, owner)
        found = copy.copy(owner)
        setattr(found, target.attr, value)
        assign(run, target.value, found)
    else:
        raise run.source.unsupported(target, "this target of an assignment", INSTEAD)


def loaded(target: ast.expr) -> Any:
    """Return a target as an expression that is read."""
    found = copy.copy(target)
    found.ctx = ast.Load()  # type: ignore[attr-defined]
    return found


def updated(run: Runner, target: ast.expr, owner: Any, index: Any, value: Any) -> Any:
    """Return a tensor, list or dict with another value at an index."""
    if isinstance(owner, (Sym, Tensor)):
        spec, inputs = taken_apart(index)
        return operator("index_update")(run.frame.builder.value(owner), value, *inputs, spec=spec)
    if isinstance(owner, (list, dict)):
        if isinstance(index, Sym):
            raise run.source.unsupported(
                target, f"an index {index.type} into a {type(owner).__name__} that is known at run time only",
                "a tensor instead of the list, or an index that is known when compiling",
            )  # fmt: skip
        found = owner.copy()
        found[index] = value
        return found
    raise run.source.unsupported(target, f"changing an element of a {type(owner).__name__}", INSTEAD)


def _alone(run: Runner, target: ast.expr, owner: Any) -> None:
    """Refuse to change what another name means, too, or belongs to a caller: it would keep its value there.

    Tensors may have other names in the function: an update of a tensor is functional, it makes a new one.
    """
    own = base_name(target)
    if not own:
        return
    changed = run.frame.names.get(own[0])
    why = "" if changed is not None else "it belongs to what is around"
    if not isinstance(owner, (Sym, Tensor)) and changed is not None:
        named = {name: each for name, each in run.frame.names.items() if name.isidentifier()}
        others = [name for name, each in named.items() if each is changed and name != own[0]]
        why = f"{others[0]!r} means it, too" if others else ""
        if any(each is changed for each in run.frame.given):
            why = "it belongs to the caller"
    if why:
        what = "a tensor" if isinstance(owner, (Sym, Tensor)) else f"a {type(owner).__name__}"
        raise run.source.unsupported(target, f"changing {what} in place: {why}", "copy it first")


def augmented(run: Runner, node: ast.AugAssign) -> None:
    """Compile `x += v`, also `x[i] += v`."""
    operation = ast.copy_location(ast.BinOp(loaded(node.target), node.op, node.value), node)
    assign(run, node.target, run.evaluate(operation))


def in_place(run: Runner, node: ast.Expr) -> bool:
    """Compile a statement such as `xs.append(x)` as an assignment; return False when it is none."""
    call = node.value
    assert isinstance(call, ast.Call)
    function = call.func
    assert isinstance(function, ast.Attribute)
    owner = run.evaluate(function.value)
    if type(owner) not in (list, dict) or not isinstance(
        function.value, (ast.Name, ast.Subscript, ast.Attribute)
    ):
        return False
    _alone(run, function, owner)
    args = [run.evaluate(each) for each in call.args]
    if function.attr == "extend":
        args = [items.laid_out(run.frame.builder, args[0], "extend")]
    found = owner.copy()
    getattr(found, function.attr)(
        *args, **{str(each.arg): run.evaluate(each.value) for each in call.keywords}
    )
    assign(run, function.value, found)
    return True


def _unpack(run: Runner, target: ast.Tuple | ast.List, value: Any) -> None:
    values = _values(run, target, value)
    starred = [at for at, each in enumerate(target.elts) if isinstance(each, ast.Starred)]
    needed = len(target.elts) - len(starred)
    if len(values) < needed or (not starred and len(values) != needed):
        raise run.source.unsupported(
            target,
            f"unpacking {len(values)} values into {len(target.elts)} names",
            "as many names as values",
        )
    if starred:
        at = starred[0]
        end = len(values) - (needed - at)
        values = [*values[:at], list(values[at:end]), *values[end:]]
    for each, part in zip(target.elts, values, strict=True):
        assign(run, each.value if isinstance(each, ast.Starred) else each, part)


def _values(run: Runner, target: ast.expr, value: Any) -> Sequence[Any]:
    if isinstance(value, (tuple, list)):
        return value
    try:
        return items.laid_out(run.frame.builder, value, "unpacking")
    except DavinciError:
        found = f"a tensor {value.type}" if isinstance(value, Sym) else f"a {type(value).__name__}"
        raise run.source.unsupported(
            target, f"unpacking {found}", "unpack tuples, lists and tensors"
        ) from None
