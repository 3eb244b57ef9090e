"""What a buffer holds, as the instruction that wrote it last tells: type, shape and layout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.task import Task
from davinci_sim.core.program import BY_OPCODE, Program
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa.fields import DTYPE_NAMES, FP16, FP32, INT32
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_SHIFT
from davinci_sim.memory.dtypes import DType, from_device
from davinci_sim.memory.dtypes import dtype as dtype_of
from davinci_sim.memory.layout import LAYOUTS
from davinci_sim.memory.spaces import Space
from kernels.lang.kernel import Operand

BLOCK_BYTES, EDGE, FRACTAL = 32, 16, 256
MOST_STEPS = 8
"""Moves that are followed back to learn a type."""


@dataclass(frozen=True)
class View:
    """A tensor in on-chip memory; without a shape it goes to the end of its slot."""

    handle: int
    dtype: int
    shape: tuple[int, ...] = ()
    layout: str = "ND"

    @property
    def device_dtype(self) -> DType:
        """The element type."""
        return dtype_of(DTYPE_NAMES[self.dtype])

    def __str__(self) -> str:
        """Print as `fp32[64, 32] NZ`."""
        shape = str(list(self.shape)) if self.shape else "[...]"
        return f"{self.device_dtype}{shape}{'' if self.layout == 'ND' else f' {self.layout}'}"

    def read(self, data: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """Return the tensor that begins with the first byte of `data`, its layout undone."""
        if not self.shape:
            return from_device(data, self.device_dtype, 8 * data.size // self.device_dtype.bits).copy()
        layout = LAYOUTS[self.layout]
        packed = tuple(layout.device_shape(self.shape, self.device_dtype))
        flat = from_device(data, self.device_dtype, int(np.prod(packed)))
        return layout.unpack(flat.reshape(packed), self.shape).copy()

    @property
    def nbytes(self) -> int:
        """The bytes that the tensor takes; 0 where its shape is open."""
        return int(LAYOUTS[self.layout].bytes(self.shape, self.device_dtype)) if self.shape else 0


class Writers:
    """The records of a block whose results are there, the latest last, and what they wrote."""

    def __init__(
        self, program: Program, arrived: npt.NDArray[np.int64], task: Task, operands: Sequence[Operand]
    ) -> None:
        """Take the records in the order in which their results arrived."""
        self.program, self.arrived = program, arrived
        self.tensors = [(task.operands[operand.name], operand) for operand in operands]

    def last_into(self, low: int, nbytes: int, before: int = 1 << 62) -> int | None:
        """Return the place in the order of the last record that begins to write in a range of handles."""
        words = self.program.words[self.arrived[:before]]
        inside = ((words[:, 1:] >= low) & (words[:, 1:] < low + nbytes)).any(axis=1)
        for place in np.flatnonzero(inside)[::-1].tolist():
            if any(low <= handle < low + nbytes for handle in self._written(place)):
                return int(place)
        return None

    def values(self, place: int) -> dict[str, Any]:
        """Return the fields of a record."""
        return _fields(self.program, int(self.arrived[place]))

    def name(self, place: int) -> str:
        """Return the name of a record's instruction."""
        return BY_OPCODE[int(self.program.words[self.arrived[place], 0]) & 255].name

    def _written(self, place: int) -> list[int]:
        values, declared = self.values(place), INSTRUCTIONS[self.name(place)]
        return [values[operand.name] for operand in declared.operands if operand.written]

    def view(self, place: int, low: int, steps: int = MOST_STEPS) -> View:
        """Return what a record has written; a vector instruction fills its buffer from `low` on."""
        values = self.values(place)
        rule = _RULES.get(self.name(place))
        if rule is not None and steps > 0:
            return rule(self, place, values, steps)
        return View(low, int(values["dtype"]))

    def source_view(self, handle: int, before: int, steps: int) -> View | None:
        """Return what lies at a handle when the record at place `before` reads it, on chip or in GM."""
        if handle >> SPACE_SHIFT == int(Space.GM):
            for start, operand in self.tensors:
                if start <= handle < start + operand.nbytes:
                    return View(handle, operand.dtype, (), operand.layout)
            return None
        writer = self.last_into(handle, 1, before)
        return None if writer is None else self.view(writer, handle, steps - 1)

    @cached_property
    def products(self) -> list[tuple[int, dict[str, Any]]]:
        """All products of the block: record and fields."""
        declared = INSTRUCTIONS["mmad"]
        records = np.flatnonzero((self.program.words[:, 0] & 255) == declared.opcode).tolist()
        return [(record, _fields(self.program, record)) for record in records]

    def product_with(self, field: str, place: int, handle: int) -> dict[str, Any] | None:
        """Return the product that reads the operand a or b, a part of which a record wrote at a handle."""
        reading = [(record, values) for record, values in self.products if values[field] <= handle]
        start = max((values[field] for _, values in reading), default=0)
        same = [(record, values) for record, values in reading if values[field] == start]
        later = [values for record, values in same if record > self.arrived[place]]
        return later[0] if later else same[-1][1] if same else None


def _fields(program: Program, record: int) -> dict[str, Any]:
    """Return the fields of a record as plain numbers."""
    fields = BY_OPCODE[int(program.words[record, 0]) & 255].values(program.words[record])
    return {name: np.asarray(value).item() for name, value in fields.items()}


def _moved(writers: Writers, place: int, values: dict[str, Any], steps: int) -> View:
    """Bursts of a tensor; of an NZ matrix each burst is a column of fractals."""
    source = writers.source_view(values["src"], place, steps)
    dtype = FP16 if source is None else source.dtype
    item_bytes = max(1, dtype_of(DTYPE_NAMES[dtype]).bits // 8)
    run = values["burst_len"] * BLOCK_BYTES // item_bytes
    if values["dst_gap"]:
        return View(values["dst"], dtype, (run,))
    if source is not None and source.layout == "NZ":
        return View(values["dst"], dtype, (run // EDGE, values["nburst"] * EDGE), "NZ")
    return View(values["dst"], dtype, (run,) if values["nburst"] == 1 else (values["nburst"], run))


def _multiplied(writers: Writers, place: int, values: dict[str, Any], steps: int) -> View:
    """The product c[m, n]."""
    dtype = FP32 if values["dtype"] == FP16 else INT32
    return View(values["c"], FP16 if values["to_fp16"] else dtype, (values["m"], values["n"]), "NZ")


def _drained(writers: Writers, place: int, values: dict[str, Any], steps: int) -> View:
    """Columns of fractals of a product."""
    source = writers.source_view(values["src"], place, steps)
    dtype = FP16 if values["to_fp16"] else FP32 if source is None else source.dtype
    fractals = values["nburst"] * values["burst_len"]
    rows = _fractal_rows(writers, place, values["src"])
    if rows and fractals % rows == 0 and not values["dst_gap"]:
        return View(values["dst"], dtype, (rows * EDGE, fractals // rows * EDGE), "NZ")
    return View(values["dst"], dtype, (fractals * FRACTAL,))


def _fractal_rows(writers: Writers, place: int, handle: int) -> int:
    """Return how many fractals lie above each other in the product that holds a handle, or 0."""
    reached = [(record, values) for record, values in writers.products if values["c"] <= handle]
    earlier = [values for record, values in reached if record < writers.arrived[place]]
    return -(-max(earlier, key=lambda values: values["c"])["m"] // EDGE) if earlier else 0


def _loaded(writers: Writers, place: int, values: dict[str, Any], steps: int) -> View:
    """An operand of the cube: the product that reads it says its shape."""
    is_a = values["dst"] >> SPACE_SHIFT == int(Space.L0A)
    field = "a" if is_a else "b"
    product = writers.product_with(field, place, values["dst"])
    if product is None:
        return View(values["dst"], int(values["dtype"]))
    shape = (product["m"], product["k"]) if is_a else (product["k"], product["n"])
    return View(product[field], int(product["dtype"]), shape, "ZZ" if is_a else "ZN")


def _converted(writers: Writers, place: int, values: dict[str, Any], steps: int) -> View:
    """Numbers of another type."""
    return View(values["dst"], int(values["to"]))


_RULES: dict[str, Callable[[Writers, int, dict[str, Any], int], View]] = {
    "data_move": _moved, "mmad": _multiplied, "l0c_to_ub": _drained, "load2d": _loaded, "load3d": _loaded,
    "vconv": _converted,
}  # fmt: skip
"""By instruction; every other one writes numbers of its own type, one after the other."""


def address_of(handle: int) -> int:
    """Return the byte of its space that a handle points to."""
    return handle & ADDRESS_MASK
