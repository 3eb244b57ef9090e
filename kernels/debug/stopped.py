"""A kernel that has been run to an instruction: its buffers, its tensors, and what its pipes are doing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.task import Task
from davinci_sim.core.program import Program
from davinci_sim.errors import BadShape, unknown
from davinci_sim.isa.machine import Memory
from davinci_sim.isa.state import SPACE_SHIFT
from davinci_sim.memory.dtypes import dtype as dtype_of
from davinci_sim.memory.layout import LAYOUTS
from kernels.debug.held import Held, held_by
from kernels.debug.pipes import Times, doing, told
from kernels.debug.view import View, Writers, address_of
from kernels.lang.kernel import Kernel, Operand
from kernels.lang.shapes import Shape


@dataclass(frozen=True)
class Stopped:
    """A launch at the end of the cycle in which the result of a record of one block has arrived.

    Attributes:
        kernel: what was run.
        shape: on which problem.
        task: the launch.
        block: whose record it is.
        record: its index in the block's program.
        cycle: when its result arrived, counted from the start of the launch.
        memory: the block's on-chip memory and the device memory.
        times: of the block's records.
        names: of the block's buffers, in the order of their allocation.
    """

    kernel: Kernel
    shape: Shape
    task: Task
    block: int
    record: int
    cycle: int
    memory: Memory
    times: Times
    names: tuple[str, ...] = ()

    @property
    def program(self) -> Program:
        """The block's instructions."""
        return self.task.programs[self.block]

    @property
    def line(self) -> str:
        """The instruction, as the program prints it."""
        return self.program.line(self.record)

    @cached_property
    def buffers(self) -> Mapping[str, Held]:
        """The block's on-chip buffers by name."""
        return held_by(self.task.buffers[self.block], self.names)

    @cached_property
    def pipes(self) -> Mapping[str, str]:
        """What each pipe is doing."""
        return doing(self.program, self.times, self.cycle)

    @cached_property
    def writers(self) -> Writers:
        """The records whose results are there, in the order of their arrival."""
        order = arrivals(self.times, self.cycle)
        return Writers(self.program, order, self.task, self.kernel.operands(self.shape))

    def buffer(
        self, name: str, shape: tuple[int, ...] | None = None, dtype: str | None = None,
        layout: str | None = None, slot: int | None = None,
    ) -> npt.NDArray[Any]:  # fmt: skip
        """Return what a buffer or a tensor in device memory holds, its layout undone.

        Type, shape and layout are those of the instruction that wrote the buffer last, and the slot is that
        which it wrote; what is given here takes their place. On-chip bytes that nobody wrote are 0xFF, which
        is NaN in every floating-point type.

        Raises:
            UnknownName: the block has no such buffer, the kernel no such tensor; there is no such layout.
            BadShape: the shape does not fit the buffer.
        """
        tensors = {operand.name: operand for operand in self.kernel.operands(self.shape)}
        if name not in self.buffers and name in tensors:
            return self._tensor(tensors[name])
        if name not in self.buffers:
            raise unknown(f"buffer of kernel {self.kernel.name}", name, [*self.buffers, *tensors])
        held = self.buffers[name]
        view = self._changed(held, self.view(name, slot), shape, dtype, layout)
        end = held.handle + (held.slot_of(view.handle) + 1) * held.slot_bytes
        data = self._bytes(view.handle, max(end - view.handle, view.nbytes))
        if view.nbytes > held.handle + held.nbytes - view.handle:
            raise BadShape(
                f"{held}: {view} takes {view.nbytes} bytes\n  rule: it must fit the buffer\n"
                "  next: give a smaller shape"
            )
        return view.read(data)

    def view(self, name: str, slot: int | None = None) -> View:
        """Return what the last instruction that wrote a buffer, or a slot of it, says about its content."""
        held = self.buffers[name]
        if slot is not None and not 0 <= slot < held.slots:
            raise BadShape(f"{held}: there is no slot {slot}\n  rule: slots are 0 to {held.slots - 1}")
        low = held.handle + (slot or 0) * held.slot_bytes
        place = self.writers.last_into(low, held.nbytes if slot is None else held.slot_bytes)
        if place is None:
            return View(low, dtype_of("fp16").code)
        written = self.writers.view(place, low)
        slot = held.slot_of(written.handle) if held.has(written.handle) else (slot or 0)
        start = held.handle + slot * held.slot_bytes
        return written if written.shape else View(start, written.dtype, (), written.layout)

    def writer(self, name: str) -> int | None:
        """Return the record that wrote a buffer last, or None."""
        held = self.buffers[name]
        place = self.writers.last_into(held.handle, held.nbytes)
        return None if place is None else int(self.writers.arrived[place])

    def _changed(
        self, held: Held, view: View, shape: tuple[int, ...] | None, dtype: str | None, layout: str | None
    ) -> View:
        """Return a view with what the user says about it; a shape begins with its slot."""
        if layout is not None and layout not in LAYOUTS:
            raise unknown("layout", layout, LAYOUTS)
        code = view.dtype if dtype is None else dtype_of(dtype).code
        if shape is None and layout is None and code == view.dtype:
            return view
        start = held.handle + held.slot_of(view.handle) * held.slot_bytes
        kept = view.shape if dtype is None else ()
        return View(start, code, kept if shape is None else tuple(shape), layout or "ND")

    def _tensor(self, operand: Operand) -> npt.NDArray[Any]:
        """Return a tensor in device memory."""
        start = self.task.operands[operand.name]
        packed = LAYOUTS[operand.layout].device_shape(operand.shape, operand.device_dtype)
        data = self.memory.gm[start : start + operand.nbytes].copy()
        return operand.unpack(data.view(operand.device_dtype.numpy).reshape(packed))

    def _bytes(self, handle: int, nbytes: int) -> npt.NDArray[np.uint8]:
        first = int(self.memory.base[handle >> SPACE_SHIFT]) + address_of(handle)
        return self.memory.local[first : first + nbytes].copy()

    def text(self) -> str:
        """Print where the kernel stands, its pipes and its buffers."""
        lines = [
            f"{self.kernel.name} {self.shape}, block {self.block} of {self.task.block_dim}: "
            f"record {self.record} is done at cycle {self.cycle}",
            f"  {self.line}",
            "pipes",
            *(f"  {pipe:<5}{text}" for pipe, text in self.pipes.items()),
            "buffers",
            *(f"  {self._buffer_text(name)}" for name in self.buffers),
        ]
        return "\n".join(lines) + "\n"

    def _buffer_text(self, name: str) -> str:
        writer = self.writer(name)
        if writer is None:
            return f"{self.buffers[name]}: nothing yet"
        view = self.view(name)
        slot = self.buffers[name].slot_of(view.handle)
        where = f" in slot {slot}" if self.buffers[name].slots > 1 else ""
        return f"{self.buffers[name]}: {view}{where}, by {told(self.program, writer)}"


def arrivals(times: Times, cycle: int) -> npt.NDArray[np.int64]:
    """Return the records whose results are there at the end of a cycle, in the order of their arrival."""
    there = np.flatnonzero(times.arrived(cycle))
    return there[np.argsort(times.ready[there], kind="stable")]
