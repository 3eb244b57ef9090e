"""Step 1, preparation: from a Func to a graph with typed values, variables, inputs and constants."""

from __future__ import annotations

from davinci_sim.errors import DavinciError
from framework.graph_engine.data.graph import CONSTANT, INPUT, VARIABLE, Graph, Node, Value
from framework.ir.control import is_control
from framework.ir.evaluate import placed
from framework.ir.nodes import Atom, Binding, Const, Func, Var
from framework.ir.verify import verify


def prepare(func: Func) -> Graph:
    """Return the graph of a verified Func.

    Parameters that some result renews become variables, which stay on the device; the others are inputs of
    every step. Equal constants are kept once.

    Raises:
        DavinciError: the Func still calls other Funcs.
    """
    verify(func)
    renewed = set(func.updates.values())
    values = {p.name: Value(p.name, p.tensor, VARIABLE if p.name in renewed else INPUT) for p in func.params}
    constants: dict[Const, str] = {}
    nodes = []
    for index, binding in enumerate(func.bindings):
        if is_control(binding.op):
            raise DavinciError(
                f"{func.name} has a {binding.op}{placed(binding)}\n"
                "  rule: the graph engine takes straight-line code\n"
                "  next: run the inline pass if it is a call; compile for the host if not"
            )
        nodes.append(_node(index, binding, values, constants))
    results = [_name(atom, values, constants) for atom in func.results]
    updates = {results[index]: name for index, name in func.updates.items()}
    outputs = tuple(name for index, name in enumerate(results) if index not in func.updates)
    inputs = tuple(p.name for p in func.params if p.name not in renewed)
    return Graph(func.name, values, tuple(nodes), inputs, outputs, updates)


def _node(index: int, binding: Binding, values: dict[str, Value], constants: dict[Const, str]) -> Node:
    inputs = tuple(_name(atom, values, constants) for atom in binding.inputs)
    for var in binding.outputs:
        values[var.name] = Value(var.name, var.tensor)
    outputs = tuple(var.name for var in binding.outputs)
    name = f"{binding.op}.{index}"
    return Node(name, binding.op, inputs, outputs, dict(binding.attrs), source=binding.source)


def _name(atom: Atom, values: dict[str, Value], constants: dict[Const, str]) -> str:
    """Return the name of a value, entering a constant on its first use."""
    if isinstance(atom, Var):
        return atom.name
    if atom not in constants:
        constants[atom] = f"const{len(constants)}"
        values[constants[atom]] = Value(constants[atom], atom.type, CONSTANT, data=atom.value)
    return constants[atom]
