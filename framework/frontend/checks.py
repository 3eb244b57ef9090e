"""`assert`, `raise` and the messages that they show."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from framework.frontend.runner import Runner
from framework.frontend.scope import Ended
from framework.frontend.values import Text, weak_constant
from framework.ir.builder import Sym
from framework.ir.control import CHECK


def demand(run: Runner, condition: Any, message: Any) -> None:
    """Append the demand that a truth holds; what a message shows is known at run time."""
    builder = run.frame.builder
    text = message if isinstance(message, Text) else Text(_escaped(str(message)), ())
    truth = weak_constant(builder, condition) if isinstance(condition, bool) else condition
    builder.bind(CHECK, [truth, *text.values], {"message": text.form})


def assert_statement(run: Runner, node: ast.Assert) -> None:
    """Compile an `assert`."""
    condition = run.truth(node.test)
    if condition is True:
        return
    message = "AssertionError" if node.msg is None else _prefixed("AssertionError", run.evaluate(node.msg))
    demand(run, condition, message)
    if condition is False:
        raise Ended(run.source.place(node))


def raise_statement(run: Runner, node: ast.Raise) -> None:
    """Compile a `raise`."""
    raise_unless(run, False, node)


def raise_unless(run: Runner, condition: Any, node: ast.Raise) -> None:
    """Compile a `raise` that is run when a condition is false."""
    demand(run, condition, _message(run, node))
    if condition is False:
        raise Ended(run.source.place(node))


def _message(run: Runner, node: ast.Raise) -> Any:
    """Return the text of what is raised: its class, and its first argument."""
    if node.exc is None:
        raise run.source.unsupported(node, "`raise` without an exception", "raise ValueError(message)")
    call = node.exc if isinstance(node.exc, ast.Call) else None
    kind = run.evaluate(node.exc if call is None else call.func)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise run.source.unsupported(
            node, "raising what is no class of exceptions", "raise ValueError(message)"
        )
    if call is None or not call.args:
        return kind.__name__
    return _prefixed(kind.__name__, run.evaluate(call.args[0]))


def _prefixed(kind: str, message: Any) -> Text:
    text = message if isinstance(message, Text) else shown_text(message)
    return Text(f"{kind}: {text.form}", text.values)


def shown_text(value: Any, conversion: int = -1, form: str = "") -> Text:
    """Return a value as a part of an f-string."""
    if isinstance(value, Text):
        return value
    if isinstance(value, Sym):
        return Text("{:" + form + "}" if form else "{}", (value,))
    if isinstance(value, (tuple, list)) and any(isinstance(each, (Sym, tuple, list)) for each in value):
        parts = [shown_text(each) for each in value]
        opening, closing = ("(", ")") if isinstance(value, tuple) else ("[", "]")
        inner = ", ".join(part.form for part in parts)
        return Text(f"{opening}{inner}{closing}", tuple(each for part in parts for each in part.values))
    by_letter: dict[int, Callable[[Any], str]] = {ord("r"): repr, ord("s"): str, ord("a"): ascii}
    converted = by_letter[conversion](value) if conversion in by_letter else value
    return Text(_escaped(format(converted, form)), ())


def joined_text(run: Runner, node: ast.JoinedStr) -> Any:
    """Return the value of an f-string: a string, or a `Text` when it shows what is known at run time."""
    parts = []
    for each in node.values:
        if isinstance(each, ast.Constant):
            parts.append(Text(_escaped(str(each.value)), ()))
        elif isinstance(each, ast.FormattedValue):
            form = "" if each.format_spec is None else run.evaluate(each.format_spec)
            parts.append(shown_text(run.evaluate(each.value), each.conversion, str(form)))
    text = Text("".join(part.form for part in parts), tuple(each for part in parts for each in part.values))
    return text if text.values else text.form.format()


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def unassigned(name: str, where: str) -> str:
    """Return the message of a variable that is read on a path that did not assign it; the line follows."""
    return (
        f"UnboundLocalError: cannot access local variable {name!r} where it is not associated with a value\n"
        f"  it is assigned on another path\n{where}\n  and read here"
    )
