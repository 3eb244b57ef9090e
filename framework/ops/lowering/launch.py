"""What a lowering gives: kernels by name, on which axes, with which operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from framework.ir.types import TensorType

DEVICE_DTYPES = {"float16": "fp16", "float32": "fp32", "int32": "int32"}


class NotOnDevice(Exception):
    """Says why an operator with these types has no kernel; the splitter reports it and takes the host."""


@dataclass(frozen=True)
class Launch:
    """One kernel of a lowering.

    `operands` names, in the kernel's order, what each operand is: `in0`, `out0`, `tmp0` (between the launches
    of one operator), `tmp0[2]` (the third of its equal parts, which lie side by side) or `scalar:0.9`. A
    `flat` kernel runs over elements, so that its tensors may have any one format; `formats` overrides the
    layout that the kernel declares for an operand.
    """

    kernel: str
    axes: Mapping[str, int]
    operands: tuple[str, ...]
    dtype: str
    out_dtype: str | None = None
    flat: bool = False
    formats: Mapping[str, str] = field(default_factory=dict)


Types = tuple[TensorType, ...]


Lowering = Callable[[Types, Types, Mapping[str, Any], int], Sequence[Launch]]
"""(input types, output types, attributes, cores of the chip) -> launches; raises NotOnDevice."""


def device_dtype(type_: TensorType) -> str:
    """Return the device's name of an element type."""
    name = DEVICE_DTYPES.get(type_.dtype.name)
    if name is None:
        raise NotOnDevice(f"{type_.dtype} has no place on the device; cast to float16, float32 or int32")
    return name
