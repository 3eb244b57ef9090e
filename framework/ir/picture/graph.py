"""A Func as a graph: a node per parameter and binding, an edge per use of a value."""

from __future__ import annotations

from typing import NamedTuple

from framework.ir.control import is_control
from framework.ir.nodes import Atom, Binding, Const, Func, Rec, Var
from framework.ir.printer import in_order, print_attr, print_const

LONGEST_TITLE, LONGEST_DETAIL = 34, 52
"""Texts in nodes are cut after so many letters."""


class Node(NamedTuple):
    """What one node says: its kind (`param`, `op`, `control`, `check` or `return`), two lines, its Funcs."""

    kind: str
    title: str
    detail: str
    parts: tuple[tuple[str, Func | Rec], ...] = ()


class Graph(NamedTuple):
    """Nodes in the order of the text, and edges as pairs of their numbers."""

    func: Func
    nodes: list[Node]
    edges: list[tuple[int, int]]


def graph_of(func: Func) -> Graph:
    """Return the graph of a Func without what is inside of its parts; its last node is the return."""
    nodes = [Node("param", f"%{param.name}", str(param.type)) for param in func.params]
    made = {param.name: at for at, param in enumerate(func.params)}
    edges: dict[tuple[int, int], None] = {}
    for binding in func.bindings:
        edges.update(dict.fromkeys((made[name], len(nodes)) for name in _names(binding.inputs)))
        made.update({var.name: len(nodes) for var in binding.outputs})
        nodes.append(_node(binding))
    edges.update(dict.fromkeys((made[name], len(nodes)) for name in _names(func.results)))
    types = ", ".join(str(atom.type) for atom in func.results)
    nodes.append(Node("return", _cut(f"return {_atoms(func.results)}"), _cut(types, LONGEST_DETAIL)))
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
    extra = [_constant(atom) for atom in binding.inputs if isinstance(atom, Const)]
    kind = "check" if binding.op == "check" else "control" if is_control(binding.op) else "op"
    if kind != "control":
        extra += _attributes(binding)
    outputs = ", ".join(f"%{var.name}: {var.type}" for var in binding.outputs)
    title = _cut("  ".join([f"{binding.op}{called}", ", ".join(extra)]).rstrip())
    return Node(kind, title, _cut(outputs, LONGEST_DETAIL), parts)


def _constant(const: Const) -> str:
    """Return the number that a constant is, or its type if it has several."""
    text = print_const(const)
    body = text[text.index("{") + 1 : -1].removeprefix("all ")
    return str(const.type) if "," in body or body.startswith("base64") else body


def _attributes(binding: Binding) -> list[str]:
    """Return what attributes say beyond the usual: neither no, nor nothing, nor the dtype of the output."""
    dtypes = [str(var.tensor.dtype) for var in binding.outputs]
    return [
        f"{key}={print_attr(value)}"
        for key, value in in_order(binding)
        if not isinstance(value, Func | Rec) and value not in dtypes
        and value is not False and value is not None
    ]  # fmt: skip


def _names(atoms: tuple[Atom, ...]) -> list[str]:
    return [atom.name for atom in atoms if isinstance(atom, Var)]


def _atoms(atoms: tuple[Atom, ...]) -> str:
    return ", ".join(f"%{atom.name}" if isinstance(atom, Var) else print_const(atom) for atom in atoms)


def _cut(text: str, longest: int = LONGEST_TITLE) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
