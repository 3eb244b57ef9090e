"""Functions that are values of run time: what a loop or a recursion builds from what it had before.

A variable that holds one of a few functions is a `Choice`. One whose functions hold one another without end
is a function of the IR: its types are those that it is called with, which is found out by compiling: the
first call says what goes in, the first function that does not need another one what comes out, and then the
program is compiled again.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from davinci_sim.errors import DavinciError
from framework.frontend import join
from framework.frontend.memo import calls_of
from framework.frontend.scope import Ended, Unsettled
from framework.frontend.templates import Run, Taker, Template, leaves_of, put_together, template_of
from framework.frontend.values import Function, Site
from framework.ir import flow
from framework.ir.builder import Builder, Sym
from framework.ir.control import APPLY
from framework.ir.types import FnType


class Again(Exception):  # caught by `trace`
    """What has become known of a function of run time: the program is to be compiled with it."""

    def __init__(self, key: Hashable, arguments: Template, result: Template | None) -> None:
        """Hold what is known: the arguments, and the result or None."""
        super().__init__()
        self.key, self.arguments, self.result = key, arguments, result


def apply_function(builder: Builder, function: Function, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call a function of run time."""
    site = function.site
    value = (tuple(args), kwargs)
    taker = Taker(True)
    given = taker.take(value)
    if site.arguments is None:
        raise Again(site.key, given, None)
    try:
        wanted = join.join(site.arguments, given)
    except join.Mismatch as mismatch:
        raise DavinciError(f"a function that the program builds is called with {mismatch}") from None
    if wanted != site.arguments:
        raise Again(site.key, wanted, None)
    if site.result is None:
        raise Unsettled
    leaves: list[Sym] = []
    own = put_together(given, [builder.value(each) for each in taker.leaves])
    join.lower(builder, own, wanted, leaves)
    outputs = builder.bind(APPLY, [function.value, *leaves], {})
    return put_together(site.result, outputs)


def lower_function(builder: Builder, value: Any, site: Site) -> Sym:
    """Return a function of the program as a function of run time."""
    if isinstance(value, Function):
        return builder.lift(value.value)
    if site.arguments is None:
        return placeholder(builder, site)
    inner = Builder(builder)
    params = [inner.param(leaf.type) for leaf in leaves_of(site.arguments)]
    args, kwargs = put_together(site.arguments, params)
    from framework.frontend.dispatch import apply, name_of

    try:
        result = apply(inner, value, args, kwargs)
    except Unsettled:
        return placeholder(builder, site)
    except Ended:
        result = None
    found = template_of(result) if site.result is None else _joined(site.result, template_of(result))
    if found != site.result:
        raise Again(site.key, site.arguments, found)
    leaves: list[Sym] = []
    join.lower(inner, result, found, leaves)
    return flow.closure(
        builder, flow.Part(inner, leaves, f"{name_of(value)}.code"), calls_of(builder).known()
    )


def _joined(one: Template, other: Template) -> Template:
    try:
        return join.join(one, other)
    except join.Mismatch as mismatch:
        raise DavinciError(f"functions that the program builds return {mismatch}; they must agree") from None


def placeholder(builder: Builder, site: Site) -> Sym:
    """Return a function that nobody calls: its types are not known yet."""
    return join.nothing(builder, Run(function_type(site), False))


def function_type(site: Site) -> FnType:
    """Return the type of the functions of a site, which stands for none before it is known."""
    if site.arguments is None or site.result is None:
        return FnType((), ())
    params = tuple(leaf.type for leaf in leaves_of(site.arguments))
    return FnType(params, tuple(leaf.type for leaf in leaves_of(site.result)))
