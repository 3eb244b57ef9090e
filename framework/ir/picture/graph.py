"""A Func as a graph: a node per parameter and binding, an edge per use of a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from framework.ir.control import is_control
from framework.ir.nodes import Atom, Binding, Const, Func, Rec, Var
from framework.ir.printer import in_order, print_attr, print_const
from framework.ir.types import TensorType

LONGEST_TITLE, LONGEST_DETAIL, MOST_DETAILS = 44, 52, 5
"""The letters after which a title is cut and another line of details begins, and the lines that there are."""


class Node(NamedTuple):
    """What one node says: its kind (`param`, `op`, `control`, `check` or `return`), its lines, its Funcs."""

    kind: str
    title: str
    details: tuple[str, ...]
    parts: tuple[tuple[str, Func | Rec], ...] = ()


class Graph(NamedTuple):
    """Nodes in the order of the text, and edges as pairs of their numbers."""

    func: Func
    nodes: list[Node]
    edges: list[tuple[int, int]]


def graph_of(func: Func) -> Graph:
    """Return the graph of a Func without what is inside of its parts; its last node is the return."""
    nodes = [Node("param", f"%{param.name}", (str(param.type),)) for param in func.params]
    made = {param.name: at for at, param in enumerate(func.params)}
    edges: dict[tuple[int, int], None] = {}
    for binding in func.bindings:
        edges.update(dict.fromkeys((made[name], len(nodes)) for name in _names(binding.inputs)))
        made.update({var.name: len(nodes) for var in binding.outputs})
        nodes.append(_node(binding))
    edges.update(dict.fromkeys((made[name], len(nodes)) for name in _names(func.results)))
    types = _lines([str(atom.type) for atom in func.results])
    nodes.append(Node("return", _cut(f"return {', '.join(_atom(each) for each in func.results)}"), types))
    return Graph(func, nodes, list(edges))


def distinct_graphs(func: Func) -> list[Graph]:
    """Return the graphs of a Func and of all Funcs in it, each once, those around before those inside."""
    found: dict[int, Graph] = {}

    def visit(each: Func) -> None:
        found[id(each)] = graph_of(each)
        for node in found[id(each)].nodes:
            for _, part in node.parts:
                if isinstance(part, Func) and id(part) not in found:
                    visit(part)

    visit(func)
    return list(found.values())


def _node(binding: Binding) -> Node:
    parts = tuple((key, value) for key, value in in_order(binding) if isinstance(value, Func | Rec))
    called = "".join(
        f" @{part.name}{' again' * isinstance(part, Rec)}" for key, part in parts if key == "func"
    )
    kind = "check" if binding.op == "check" else "control" if is_control(binding.op) else "op"
    given = ", ".join(_atom(each) for each in binding.inputs)
    title = f"{binding.op}{called}({given})  {', '.join(_attributes(binding))}".rstrip()
    outputs = _lines([f"%{var.name}: {var.type}" for var in binding.outputs])
    return Node(kind, _cut(title), outputs, parts)


def _constant(const: Const) -> str:
    """Return the number that a constant is, or its type if it has several."""
    text = print_const(const)
    body = text[text.index("{") + 1 : -1].removeprefix("all ")
    return str(const.type) if "," in body or body.startswith("base64") else body


def _attributes(binding: Binding) -> list[str]:
    """Return what attributes say beyond the usual: neither no, nor none, nor the type of the output."""
    kinds = [var.type for var in binding.outputs]
    usual: list[object] = [str(each.dtype) for each in kinds if isinstance(each, TensorType)]
    usual += [False, None, *([0, *map(str, kinds)] if is_control(binding.op) else [])]
    told = [(type(each), each) for each in usual]  # False is no 0: the first axis is worth a word
    return [
        f"{key}={print_attr(value)}"
        for key, value in in_order(binding)
        if not isinstance(value, Func | Rec) and (type(value), value) not in told
    ]


def _names(atoms: tuple[Atom, ...]) -> list[str]:
    return [atom.name for atom in atoms if isinstance(atom, Var)]


def _atom(atom: Atom) -> str:
    return f"%{atom.name}" if isinstance(atom, Var) else _constant(atom)


def _lines(texts: Sequence[str]) -> tuple[str, ...]:
    """Return texts with commas between them in a few lines.

    >>> _lines(["%0: stack<float32[64, 64]>", "%1: float32[]", "%2: bool[]", "%3: int64[]"])
    ('%0: stack<float32[64, 64]>, %1: float32[],', '%2: bool[], %3: int64[]')
    """
    lines = [""]
    for at, text in enumerate(texts):
        item = text if at == len(texts) - 1 else f"{text},"
        fits = len(lines[-1]) + 1 + len(item) <= LONGEST_DETAIL
        lines[-1:] = [f"{lines[-1]} {item}".strip()] if fits or not lines[-1] else [lines[-1], item]
    shown = [_cut(line, LONGEST_DETAIL) for line in lines if line]
    return tuple(shown if len(shown) <= MOST_DETAILS else [*shown[: MOST_DETAILS - 1], "…"])


def _cut(text: str, longest: int = LONGEST_TITLE) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
