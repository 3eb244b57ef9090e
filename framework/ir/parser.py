"""Read IR text back into a Func."""

from __future__ import annotations

import ast
import base64
import math
import re
from collections.abc import Iterator

import numpy as np

from davinci_sim.errors import DavinciError
from framework.ir.nodes import Atom, Attr, Binding, Const, Func, Rec, Var
from framework.ir.types import TensorType, Type, parse_type, split_commas

_HEADER = re.compile(r"func @(?P<name>[^(]+)\((?P<params>.*)\)(?: updates (?P<updates>\{.*\}))? \{$")
_TYPED = re.compile(r"%(?P<name>[^:\s]+): (?P<type>.+)$")
_CONST = re.compile(r"(?P<type>\w+\[[\d, ]*\])\{(?P<body>.*)\}$")
_BINDING = re.compile(
    r"(?:(?P<outputs>%.*?) = )?(?P<op>\w+)(?: @(?P<callee>[^\s(]+))?\((?P<operands>.*)\)(?:  //.*)?$"
)
_ATTR = re.compile(r"(?P<key>[a-zA-Z_]\w*)=(?P<value>.*)$")


class IrSyntaxError(DavinciError):
    """IR text that cannot be read."""


def parse_func(text: str) -> Func:
    """Return the last Func of the text; the ones before it are those it calls."""
    known: dict[str, Func] = {}
    lines = iter([(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()])
    func: Func | None = None
    for number, line in lines:
        func = _parse_one(number, line, lines, known)
        known[func.name] = func
    if func is None:
        raise IrSyntaxError("IR text is empty: expected `func @name(...) {`")
    return func


def _parse_one(number: int, line: str, lines: Iterator[tuple[int, str]], known: dict[str, Func]) -> Func:
    header = _HEADER.match(line)
    if header is None:
        raise IrSyntaxError(f"IR line {number}: expected `func @name(...) {{`, found {line!r}")
    params = tuple(_typed(number, each) for each in split_commas(header["params"]))
    scope = {param.name: param for param in params}
    bindings: list[Binding] = []
    results: tuple[Atom, ...] = ()
    for at, body in lines:
        if body == "}":
            break
        if body.startswith("return"):
            results = tuple(_atom(at, each, scope) for each in split_commas(body[len("return") :]))
            continue
        bindings.append(_binding(at, body, scope, known))
    updates = ast.literal_eval(header["updates"]) if header["updates"] else {}
    return Func(header["name"], params, tuple(bindings), results, updates)


def _binding(number: int, line: str, scope: dict[str, Var], known: dict[str, Func]) -> Binding:
    found = _BINDING.match(line)
    if found is None:
        raise IrSyntaxError(f"IR line {number}: expected `%y: type = op(...)`, found {line!r}")
    attrs: dict[str, Attr] = {}
    inputs: list[Atom] = []
    for operand in split_commas(found["operands"]):
        attr = _ATTR.match(operand)
        if attr is None:
            inputs.append(_atom(number, operand, scope))
        else:
            attrs[attr["key"]] = _attr(number, attr["value"], known)
    if found["callee"]:
        attrs["func"] = _func(found["callee"], known)
    outputs = tuple(_typed(number, each) for each in split_commas(found["outputs"] or ""))
    scope.update({var.name: var for var in outputs})
    return Binding(outputs, found["op"], tuple(inputs), attrs)


def _attr(number: int, text: str, known: dict[str, Func]) -> Attr:
    """Return what the text of an attribute means: a Func, a literal, a type, or a tuple of them."""
    if text.startswith("@"):
        return _func(text[1:], known)
    if text.startswith("("):
        return tuple(_attr(number, each, known) for each in split_commas(text[1:-1]))
    if text == "nan":
        return math.nan
    try:
        found: Attr = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return _type(number, text)
    return found


def _func(name: str, known: dict[str, Func]) -> Func | Rec:
    """Return the Func that stands above, or the mark of one that stands around."""
    return known.get(name, Rec(name))


def _typed(number: int, text: str) -> Var:
    found = _TYPED.match(text)
    if found is None:
        raise IrSyntaxError(f"IR line {number}: expected `%name: type`, found {text!r}")
    return Var(found["name"], _type(number, found["type"]))


def _type(number: int, text: str) -> Type:
    try:
        return parse_type(text)
    except DavinciError as error:
        raise IrSyntaxError(f"IR line {number}: {error}") from None


def _tensor_type(number: int, text: str) -> TensorType:
    found = _type(number, text)
    assert isinstance(found, TensorType)  # the pattern of constants has a shape
    return found


def _atom(number: int, text: str, scope: dict[str, Var]) -> Atom:
    if text.startswith("%"):
        if text[1:] not in scope:
            raise IrSyntaxError(f"IR line {number}: {text} is used before it is defined")
        return scope[text[1:]]
    found = _CONST.match(text)
    if found is None:
        raise IrSyntaxError(f"IR line {number}: expected %name or type{{values}}, found {text!r}")
    kind = _tensor_type(number, found["type"])
    if found["body"].startswith("base64 "):
        return Const(kind, base64.b64decode(found["body"][len("base64 ") :]))
    convert, wide = (float, np.float64) if kind.dtype.is_float else (int, np.int64)
    body = found["body"].removeprefix("all ")
    values = np.array([convert(each) for each in split_commas(body)], dtype=wide).astype(kind.dtype.numpy)
    return Const.of(np.full(kind.shape, values[0]) if body != found["body"] else values.reshape(kind.shape))
