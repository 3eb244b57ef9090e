"""Parts of tensors in Python source: a place that is whole numbers is read, and written, as NumPy does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from framework.host.operators import evaluator_name, expression
from framework.host.structure import Around
from framework.ir.nodes import Binding

if TYPE_CHECKING:
    from framework.host.python import Writer


def index(writer: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    """Write the choice of a part of a tensor."""
    key = _key(binding, inputs[1:])
    if key is None or not key:
        return writer.define(binding, expression(writer.module, binding, inputs))
    return writer.define(binding, f"{writer.run_time('chosen')}({_place(writer, binding, key, inputs, 1)})")


def index_written(writer: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    """Write the change of a part of a tensor: in place if nothing reads the tensor again, and has it."""
    key = _key(binding, inputs[2:])
    if key is None or inputs[0] not in writer.consumed:
        return writer.define(binding, expression(writer.module, binding, inputs))
    how = writer.run_time("index_added" if binding.op == "index_add" else "index_updated")
    return writer.define(binding, f"{how}({_place(writer, binding, key, inputs, 2)})")


def _key(binding: Binding, indices: Sequence[str]) -> list[str] | None:
    """Return the items of an index of whole numbers, `slice` for whole axes behind them; None for others."""
    spec: Any = binding.attrs["spec"]
    at = len(binding.inputs) - len(indices)
    if any(atom.tensor.shape for atom in binding.inputs[at:]):
        return None
    key = []
    for item in spec:
        if isinstance(item, int):
            key.append(str(item))
        elif isinstance(item, tuple) and item[0] == "at":
            key.append(indices[item[1]])
        elif item == ("slice", None, None, None):
            key.append("slice")
        else:
            return None
    return None if "slice" in key[: -key.count("slice") or None] else key


def _place(writer: Writer, binding: Binding, key: list[str], inputs: list[str], values: int) -> str:
    """Return the arguments of what reads or writes a part: how to do it with care, values, place, indices."""
    items = [item for item in key if item != "slice"]
    careful = evaluator_name(writer.module, binding)
    indices = inputs[values:]
    place = items[0] if len(items) == 1 else f"({', '.join(items)})"
    return ", ".join([careful, *inputs[:values], place, *indices])
