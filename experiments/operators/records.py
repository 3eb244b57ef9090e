"""The published times of operators, as the profiler wrote them down."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PUBLISHED = Path(__file__).parent / "published.json"
ITEM_BYTES = {"FLOAT32": 4, "FLOAT16": 2, "INT32": 4, "UINT16": 2, "UINT8": 1, "BOOL": 1}
TYPES = {"FLOAT32": "fp32", "FLOAT16": "fp16", "INT32": "int32"}
"""The profiler's element types that kernels have, with the kernels' names."""


@dataclass(frozen=True)
class Tensor:
    """A tensor as it lay in device memory, padding of its format included.

    >>> Tensor.of("32x1x28x28x16:NC1HWC0:FLOAT32").nbytes
    1605632
    """

    shape: tuple[int, ...]
    format: str
    dtype: str

    @classmethod
    def of(cls, text: str) -> Tensor:
        """Read `16000x512:ND:FLOAT32`; a scalar has no axes."""
        dims, layout, dtype = text.split(":")
        return cls(() if dims == "scalar" else tuple(int(size) for size in dims.split("x")), layout, dtype)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.size * ITEM_BYTES[self.dtype]

    @property
    def kernel_dtype(self) -> str:
        """The element type as kernels call it; "" where none has it."""
        return TYPES.get(self.dtype, "")

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns: of FRACTAL_NZ n1, m1, m0, n0, or of two axes as they are."""
        if self.format == "FRACTAL_NZ":
            n1, m1, m0, n0 = self.shape
            return m1 * m0, n1 * n0
        rows, columns = self.shape
        return rows, columns

    def __str__(self) -> str:
        """Print like `16000x512 fp32 NZ`."""
        dims = "x".join(map(str, self.shape)) or "scalar"
        layout = "" if self.format == "ND" else f" {self.format.removeprefix('FRACTAL_')}"
        return f"{dims} {self.kernel_dtype or self.dtype.lower()}{layout}"


@dataclass(frozen=True)
class Record:
    """One operator of a published profile.

    Attributes:
        id: its number in this collection.
        network: in which training step it ran.
        layer: which of several equal operators, where the source names it.
        op: the vendor's name of the operator.
        attributes: axes of a convolution, which its tensors do not tell.
        us: the kernel's time in microseconds.
        blocks: the cores' shares of the launch; 0 where it is not told.
    """

    id: str
    network: str
    op: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    us: float
    blocks: int = 0
    layer: str = ""
    attributes: Mapping[str, int] = field(default_factory=dict)

    @property
    def moved_bytes(self) -> int:
        """The bytes of all inputs and outputs, each once."""
        return sum(tensor.nbytes for tensor in (*self.inputs, *self.outputs))

    def __str__(self) -> str:
        """Print the operator with what it took and gave."""
        taken = ", ".join(map(str, self.inputs[:3])) + (", ..." if len(self.inputs) > 3 else "")
        given = ", ".join(map(str, self.outputs[:1])) + (", ..." if len(self.outputs) > 1 else "")
        return f"{self.layer + ' ' if self.layer else ''}{taken} -> {given}"


def read_published(network: str | None = None, path: Path = PUBLISHED) -> list[Record]:
    """Return the published operators, of one network or of all."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [
        _record(name, record)
        for name, records in content.items()
        if name != "_meta" and network in (None, name)
        for record in records
    ]


def _record(network: str, record: Mapping[str, Any]) -> Record:
    inputs, outputs = (tuple(map(Tensor.of, record[side])) for side in ("inputs", "outputs"))
    return Record(
        record["id"], network, record["op"], inputs, outputs, float(record["us"]),
        int(record.get("blocks", 0)), record.get("layer", ""), record.get("attributes", {}),
    )  # fmt: skip
