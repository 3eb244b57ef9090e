"""Write branches, loops and functions as values into a Func: their parts are built inside of it.

A part is built by a `Builder` whose parent is the one around; what it uses of the values around becomes
operands of the binding, and parameters of the part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from framework.ir.builder import NO_FUNCS, Builder, Sym
from framework.ir.control import CLOSURE, IF, SCAN, WHILE, Signature
from framework.ir.nodes import Atom, Attrs, Func


class Part(NamedTuple):
    """A branch, the condition or the body of a loop, the code of a function: built, not yet closed."""

    builder: Builder
    results: Sequence[Any]
    name: str

    def close(self, captured: Sequence[Sym]) -> Func:
        """Return the Func that takes its own parameters and then these values of the Func around."""
        return self.builder.finish(self.name, self.results, captured=captured)


def branch(
    builder: Builder, condition: Any, then: Part, orelse: Part, known: Mapping[str, Signature] = NO_FUNCS
) -> tuple[Sym, ...]:
    """Append an `if`; return the results of the branch taken. Branches have no parameters of their own."""
    used = _captured(then, orelse)
    attrs = {"then": then.close(used), "orelse": orelse.close(used)}
    return builder.bind(IF, [condition, *used], attrs, known)


def loop(
    builder: Builder, init: Sequence[Any], cond: Part, body: Part, saves: int = 0,
    known: Mapping[str, Signature] = NO_FUNCS,
) -> tuple[Sym, ...]:  # fmt: skip
    """Append a `while`; return the last state and then the stacks. Both parts take the state."""
    used = _captured(cond, body)
    parts = {"cond": cond.close(used), "body": body.close(used)}
    attrs: Attrs = {**parts, "invariants": len(used), "saves": saves}
    return builder.bind(WHILE, [*init, *used], attrs, known)


def scan(
    builder: Builder, stacks: Sequence[Any], init: Sequence[Any], body: Part, saves: int = 0,
    reverse: bool = False, known: Mapping[str, Signature] = NO_FUNCS,
) -> tuple[Sym, ...]:  # fmt: skip
    """Append a `scan`; return the last state and what is saved. The body takes elements, then state."""
    used = _captured(body)
    attrs: Attrs = {
        "body": body.close(used), "reverse": reverse,
        "stacks": len(stacks), "invariants": len(used), "saves": saves,
    }  # fmt: skip
    return builder.bind(SCAN, [*stacks, *init, *used], attrs, known)


def closure(builder: Builder, part: Part, known: Mapping[str, Signature] = NO_FUNCS) -> Sym:
    """Append a function as a value: the part with what it uses of the values around."""
    used = _captured(part)
    return builder.bind(CLOSURE, used, {"func": part.close(used)}, known)[0]


def _captured(*parts: Part) -> list[Sym]:
    """Return the values around that any of the parts uses, each once.

    Results that are values around are captured here: a part may hand on what it has not touched.
    """
    found: dict[Atom, Sym] = {}
    for part in parts:
        for each in part.results:
            part.builder.value(each)
        found.update({sym.atom: sym for sym in part.builder.captured})
    return list(found.values())
