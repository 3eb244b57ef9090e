"""The published operators, and how long the simulated chip takes for each, from a known state of L2."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kernels
from davinci_sim.chip import Chip, Task
from davinci_sim.chip.chip import ALIGN_BYTES
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape

PUBLISHED = Path(__file__).parent / "published.json"
MB = 10**6
PATTERNS = {"same": 0, "number": 1, "row": 2, "column": 3}
"""What the second input is, as the kernels count it."""
TYPES = {"FLOAT32": "fp32", "FLOAT16": "fp16"}
STATES = ("cold", "used", "produced")
"""What L2 holds when an operator starts, see `Bench`."""


@dataclass(frozen=True)
class Operator:
    """One element-wise operator: a kernel of the kit on `n` elements, and what a real 910A took.

    Attributes:
        op: its name in the profile.
        kernel: the kit's kernel.
        n: elements of the result.
        rows: numbers of a second input that has one for each row; else rows of the first one.
        b: what the second input is, "" where there is none or it is like the first.
        dtype: element type of the inputs.
        out_dtype: element type of the result.
        us: the published time; NaN where none is.
    """

    op: str
    kernel: str
    n: int
    rows: int = 1
    b: str = ""
    dtype: str = "fp32"
    out_dtype: str = "fp32"
    us: float = math.nan

    @property
    def shape(self) -> Shape:
        """The shape for the kernel."""
        axes = {"n": self.n}
        if self.b:
            axes["pattern"] = PATTERNS[self.b]
            axes["rows"] = self.rows if self.b in ("row", "column") else 1
        if self.dtype != self.out_dtype:
            from davinci_sim.memory.dtypes import dtype

            axes["out_dtype"] = dtype(self.out_dtype).code
        return self.found.shape_type.of(self.kernel, axes, self.dtype)

    @property
    def found(self) -> Kernel:
        """The kernel itself."""
        return kernels.find(self.kernel)

    @property
    def moved_bytes(self) -> int:
        """The bytes of all inputs and of the result."""
        return sum(operand.nbytes for operand in self.found.operands(self.shape))

    def gbps(self, us: float) -> float:
        """Return the bandwidth of a time, in GB/s."""
        return self.moved_bytes / us / 1000


def read_published(path: Path = PUBLISHED) -> list[Operator]:
    """Return the published operators."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [_operator(record) for record in content["records"]]


def _operator(record: Mapping[str, Any]) -> Operator:
    shape, out_type = _tensor(record["output"])
    inputs = [_tensor(text) for text in record["inputs"]]
    b = record.get("b", "")
    rows = 1
    if b == "row":
        rows = math.prod(shape) // min(math.prod(each) for each, _ in inputs)
    elif b == "column":
        rows = min(math.prod(each) for each, _ in inputs)
    return Operator(
        record["op"], record["kernel"], math.prod(shape), rows, b, inputs[0][1], out_type, float(record["us"])
    )


def _tensor(text: str) -> tuple[tuple[int, ...], str]:
    """Read `16000x512:FLOAT32`."""
    dims, _, element = text.partition(":")
    return () if dims == "scalar" else tuple(int(size) for size in dims.split("x")), TYPES[element]


class Bench:
    """A chip on which one operator is timed, from the start of its task to its last result.

    Three states of L2 before it:

    - cold: empty; every input comes from HBM, and nothing has to be written back.
    - used: another operator has streamed twice the size of L2 through it, half read and half written.
    - produced: the same, and then an operator wrote the first input, as in a network.
    """

    def __init__(self, chip: Chip) -> None:
        """Take a chip whose device memory nobody else uses."""
        self.chip = chip
        self.quarter = int(chip.platform.gm_bytes) // 4
        count = 2 * int(chip.platform.l2_bytes) // 4
        self.stream = self.task(Operator("another", "relu", count), self.quarter)

    def us(self, operator: Operator, state: str) -> float:
        """Return the simulated time of an operator in microseconds."""
        task = self.task(operator, 0)
        self.chip.empty_l2()
        if state != "cold":
            self.chip.cycles(self.stream)
        if state == "produced":
            self.chip.cycles(self.producer(operator, task))
        return self.chip.microseconds(self.chip.cycles(task))

    def task(self, operator: Operator, start: int) -> Task:
        """Return the launch of an operator whose operands lie one after another in device memory."""
        handles, end = {}, start
        for operand in operator.found.operands(operator.shape):
            handles[operand.name] = end
            end += -(-operand.nbytes // ALIGN_BYTES) * ALIGN_BYTES
        return operator.found.task(operator.shape, handles, self.chip.platform)

    def producer(self, operator: Operator, task: Task) -> Task:
        """Return a launch that writes the first input of an operator."""
        first = operator.found.operands(operator.shape)[0]
        writer = Operator("producer", "relu", operator.n, dtype=operator.dtype, out_dtype=operator.dtype)
        source, target = (operand.name for operand in writer.found.operands(writer.shape))
        handles = {source: 2 * self.quarter, target: task.operands[first.name]}
        return writer.found.task(writer.shape, handles, self.chip.platform)
