"""One template for what two paths give, and values brought to it.

Known numbers that differ become known at run time, and take on the dtype of a tensor that they meet;
functions that differ become a `Choice`; what one path only assigns is a `Maybe`. All else must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from davinci_sim.errors import InternalError
from framework import dtypes
from framework.dtypes import DType
from framework.frontend.describe import describe
from framework.frontend.templates import (
    ABSENT,
    CHOICE,
    CONFLICT,
    MAYBE,
    Known,
    Node,
    Run,
    Taker,
    Template,
    code_of,
    leaves_of,
    parts_of,
    template_of,
)
from framework.frontend.values import (
    MISSING,
    NUMBERS,
    Choice,
    Conflict,
    Maybe,
    Site,
    is_cell,
    is_number,
    number_type,
    weak_constant,
)
from framework.ir.builder import Builder, Sym
from framework.ir.control import NOTHING
from framework.ir.registry import operator
from framework.ir.types import TensorType
from framework.tensor import Tensor

TRUTH = Run(number_type(True), True)
TAG = Run(number_type(0), True)


class Mismatch(Exception):  # caught by who joins: a name is then in conflict
    """Two templates that do not agree."""

    def __init__(self, one: Template, other: Template) -> None:
        """Hold the two parts that differ."""
        super().__init__(f"{describe(one)} and {describe(other)}")
        self.one, self.other = one, other


def join(one: Template, other: Template, site: Site | None = None) -> Template:
    """Return the template of a value that comes from one of two paths.

    Functions that hold one another without end become functions of run time, which come from the site.

    Raises:
        Mismatch: there is none.
    """
    if one == other:
        return one
    if is_conflict(one) or is_conflict(other):
        return one if is_conflict(one) else other
    if one is ABSENT or other is ABSENT:
        return _maybe(other if one is ABSENT else one)
    if is_maybe(one) or is_maybe(other):
        inner = [
            each.children[0] if isinstance(each, Node) and is_maybe(each) else each for each in (one, other)
        ]
        where = next(each.children[2] for each in (one, other) if isinstance(each, Node) and is_maybe(each))
        return _maybe(join(inner[0], inner[1], site), where)
    if is_function(one) and is_function(other):
        return _join_functions(one, other, site)
    if isinstance(one, Node) and isinstance(other, Node):
        return _join_nodes(one, other, site)
    return _join_numbers(one, other)


def _join_nodes(one: Node, other: Node, site: Site | None) -> Template:
    if one.kind != other.kind or one.static != other.static or len(one.children) != len(other.children):
        raise Mismatch(one, other)
    pairs = zip(one.children, other.children, strict=True)
    return Node(one.kind, one.static, tuple(join(a, b, site) for a, b in pairs))


def _join_numbers(one: Template, other: Template) -> Template:
    types = [_number_of(each) for each in (one, other)]
    if types[0] is None or types[1] is None:
        raise Mismatch(one, other)
    (a, a_weak), (b, b_weak) = types  # type: ignore[misc]
    if a_weak and b_weak:
        return Run(a if a.dtype.rank >= b.dtype.rank else b, True)
    if a == b and not (a_weak or b_weak):
        return Run(a, False)
    if a_weak == b_weak or a.shape != b.shape:
        raise Mismatch(one, other)
    strong, weak = (b, a) if a_weak else (a, b)
    if not takes(strong.dtype, weak.dtype):
        raise Mismatch(one, other)
    return Run(strong, False)


def takes(strong: DType, weak: DType) -> bool:
    """Tell whether a number of Python's takes on the dtype of a tensor that it meets."""
    if weak.is_float:
        return strong.is_float
    return weak == dtypes.bool_ or strong != dtypes.bool_


def _number_of(template: Template) -> tuple[TensorType, bool] | None:
    """Return the type of what can be a tensor at run time, and whether it is weak."""
    if isinstance(template, Run):
        return (template.type, template.weak) if isinstance(template.type, TensorType) else None
    if not isinstance(template, Known):
        return None
    if is_number(template.value):
        return (number_type(template.value), True)
    if isinstance(template.value, (Tensor, np.ndarray, np.generic)):
        return (TensorType.of(np.asarray(template.value)), False)
    return None


def is_maybe(template: Template) -> bool:
    """Tell whether a template is that of a variable that may be unassigned."""
    return isinstance(template, Node) and template.static == MAYBE


def is_conflict(template: Template) -> bool:
    """Tell whether a template is that of a variable in conflict."""
    return isinstance(template, Node) and template.static == CONFLICT


def _is_again(template: Template) -> bool:
    return isinstance(template, Node) and template.kind == "again"


def is_function(template: Template) -> bool:
    """Tell whether a template is that of something that can be called."""
    if isinstance(template, Node):
        return (
            template.kind in ("closure", "partial", "method", "transform", "function")
            or template.static == CHOICE
        )
    return isinstance(template, Known) and (callable(template.value) or is_cell(template.value))


def _maybe(inner: Template, where: Template | None = None) -> Template:
    where = template_of("") if where is None else where
    return inner if is_maybe(inner) else Node("object", MAYBE, (inner, TRUTH, where))


def conflict(message: str) -> Template:
    """Return the template of a variable in conflict."""
    return template_of(Conflict(message))


def _join_functions(one: Template, other: Template, site: Site | None) -> Template:
    for each in (one, other):
        if isinstance(each, Node) and each.kind == "function":
            return _join_function(each, other if each is one else one)
    alternatives = _alternatives(one)
    for each in _alternatives(other):
        for at, found in enumerate(alternatives):
            joined = _same_function(found, each, site)
            if joined is not None:
                alternatives[at] = joined
                break
        else:
            alternatives.append(each)
    if any(map(_repeats, alternatives)):
        if site is None:
            raise Mismatch(one, other)
        return function_of(site)
    if len(alternatives) == 1:
        return alternatives[0]
    return Node("object", CHOICE, (TAG, Node("tuple", None, tuple(alternatives))))


def _join_function(one: Node, other: Template) -> Template:
    """Return the template of a function of run time that meets another function."""
    if isinstance(other, Node) and other.kind == "function":
        a, b = one.static, other.static
        if not (isinstance(a, Site) and isinstance(b, Site)):
            raise InternalError(f"{one} is not made from a site")
        if a != b and (a.result is None or (a.arguments, a.result) != (b.arguments, b.result)):
            raise Mismatch(one, other)
    return one


def function_of(site: Site) -> Template:
    """Return the template of the functions of run time that come from a site."""
    from framework.frontend.functions import function_type

    return Node("function", site, (Run(function_type(site), False),))


def _same_function(one: Template, other: Template, site: Site | None = None) -> Template | None:
    if one == other:
        return one
    try:
        return _join_nodes(one, other, site) if isinstance(one, Node) and isinstance(other, Node) else None
    except Mismatch:
        return None


def _alternatives(template: Template) -> list[Template]:
    if isinstance(template, Node) and template.static == CHOICE:
        return list(template.children[1].children)  # type: ignore[union-attr]
    return [template]


def _repeats(template: Template, around: tuple[Any, ...] = ()) -> bool:
    """Tell whether a function holds one that is written in the same place."""
    if not isinstance(template, Node):
        return False
    if template.kind == "closure":
        node = code_of(template)
        if node in around:
            return True
        around = (*around, node)
    return any(_repeats(each, around) for each in template.children)


def lower(builder: Builder, value: Any, template: Template, leaves: list[Sym]) -> None:
    """Append the leaves that a value has in a template that it was joined to.

    Where the value has no part (`MISSING`: a path that assigns nothing, or does not get there), the leaves
    are values that nobody looks at.
    """
    if isinstance(template, Known) or is_conflict(template) or _is_again(template):
        return
    if value is MISSING and not is_maybe(template):
        leaves.extend(nothing(builder, each) for each in leaves_of(template))
    elif isinstance(template, Run):
        leaves.append(_leaf(builder, value, template))
    elif is_maybe(template):
        _lower_maybe(builder, value, template, leaves)
    elif isinstance(template.static, Site):
        from framework.frontend.functions import lower_function

        leaves.append(lower_function(builder, value, template.static))
    elif template.static == CHOICE:
        _lower_choice(builder, value, template, leaves)
    else:
        for each, child in zip(_children(value), template.children, strict=True):
            lower(builder, each, child, leaves)


def nothing(builder: Builder, leaf: Run) -> Sym:
    """Return a value that nobody looks at."""
    return builder.bind(NOTHING, [], {"type": str(leaf.type)})[0]


def _leaf(builder: Builder, value: Any, leaf: Run) -> Sym:
    """Return a tensor or number in the type of a leaf."""
    found = weak_constant(builder, value) if is_number(value) else builder.value(value)
    if found.atom.type == leaf.type:
        return found
    wanted = leaf.type
    if not isinstance(wanted, TensorType) or found.type.shape != wanted.shape:
        raise InternalError(f"{found!r} was joined to {wanted}")
    if wanted.dtype == dtypes.bool_:
        return builder.lift(operator("not_equal")(found, weak_constant(builder, 0)))
    return builder.lift(found.astype(wanted.dtype))


def _lower_maybe(builder: Builder, value: Any, template: Node, leaves: list[Sym]) -> None:
    inner, flag, _ = template.children
    if isinstance(value, Maybe):
        lower(builder, value.value, inner, leaves)
        lower(builder, value.is_assigned, flag, leaves)
    else:
        lower(builder, value, inner, leaves)
        lower(builder, value is not MISSING, flag, leaves)


def _lower_choice(builder: Builder, value: Any, template: Node, leaves: list[Sym]) -> None:
    wanted: Sequence[Template] = template.children[1].children  # type: ignore[union-attr]
    given = value.functions if isinstance(value, Choice) else (value,)
    places = [_place(template_of(each), wanted) for each in given]
    tag: Any = places[0]
    if isinstance(value, Choice):
        tag = value.tag
        for at, place in reversed(list(enumerate(places))):
            if at != place:
                tag = operator("select")(operator("equal")(value.tag, at), weak_constant(builder, place), tag)
    lower(builder, tag, TAG, leaves)
    by_place = dict(zip(places, given, strict=True))
    for at, each in enumerate(wanted):
        lower(builder, by_place.get(at, MISSING), each, leaves)


def _place(template: Template, alternatives: Sequence[Template]) -> int:
    for at, each in enumerate(alternatives):
        if each == template or _same_function(each, template) == each:
            return at
    raise InternalError(f"{describe(template)} is none of the functions that it was joined to")


def _children(value: Any) -> Sequence[Any]:
    parts = parts_of(value)
    if parts is not None:
        return parts[2]
    taker = _Parts(False)
    taker.take(value)
    return taker.parts


class _Parts(Taker):
    """Takes a closure apart one level deep."""

    def __init__(self, crosses: bool) -> None:
        super().__init__(crosses)
        self.parts: list[Any] = []
        self._depth = 0

    def take(self, value: Any, path: str = "") -> Template:
        if self._depth:
            self.parts.append(value)
            return ABSENT
        self._depth = 1
        return super().take(value, path)


def weakened(value: Any) -> Template:
    """Return the template of a variable that a loop counts with: a known number is one of run time."""
    template = template_of(value)
    if (
        isinstance(template, Known)
        and type(template.value) in NUMBERS
        and not isinstance(template.value, bool)
    ):
        return Run(number_type(template.value), True)
    return template
