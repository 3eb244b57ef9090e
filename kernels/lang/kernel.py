"""A kernel: its NumPy reference, its tiling space and the function that emits, tied together.

Declaring one costs nothing but names: what emitting needs is imported when something is emitted.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from davinci_sim.errors import DavinciError, InternalError
from davinci_sim.isa.fields import DTYPE_NAMES
from davinci_sim.isa.jit import emission_jit
from davinci_sim.memory.dtypes import DType
from davinci_sim.memory.dtypes import dtype as dtype_of
from davinci_sim.memory.layout import LAYOUTS
from davinci_sim.platforms import Platform
from kernels.lang import rewrite
from kernels.lang.shapes import Shape, Tiling

if TYPE_CHECKING:
    from davinci_sim.chip.task import Task
    from davinci_sim.core.program import Program

ALIGN_BYTES = 512
"""Tensors begin at multiples of this, as those of a chip do."""


class Uncompilable(DavinciError):
    """A kernel that uses what compiled code does not have."""


@dataclass(frozen=True)
class Operand:
    """A tensor that a kernel reads or writes in GM: logical shape, element type and layout there.

    A kernel may read up to `padding_bytes` behind the tensor: the chip hands out multiples of 512 bytes.
    Random inputs are normal numbers and small integers, or lie `between` a first and before a last value,
    rounded down where `is_whole`; with `some_zeros` about half of them are zero. Where not all of a tensor is
    needed, `needed_bytes` says how much.
    """

    name: str
    shape: tuple[int, ...]
    dtype: int
    layout: str = "ND"
    is_output: bool = False
    padding_bytes: int = 0
    between: tuple[float, float] | None = None
    is_whole: bool = False
    some_zeros: bool = False
    needed_bytes: int | None = None

    @property
    def least_bytes(self) -> int:
        """Bytes that no kernel can do without reading or writing."""
        return self.nbytes if self.needed_bytes is None else self.needed_bytes

    @property
    def dtype_name(self) -> str:
        """The element type by name."""
        return DTYPE_NAMES[self.dtype]

    @property
    def device_dtype(self) -> DType:
        """The element type."""
        return dtype_of(self.dtype_name)

    @property
    def nbytes(self) -> int:
        """Bytes in GM, padding of the layout included."""
        return int(LAYOUTS[self.layout].bytes(self.shape, self.device_dtype))

    def pack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return `array[shape]` in the order of the device."""
        return LAYOUTS[self.layout].pack(array.astype(self.device_dtype.numpy))

    def unpack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the device's order as an array of the logical shape."""
        return LAYOUTS[self.layout].unpack(array, self.shape)


def output(name: str, shape: tuple[int, ...], dtype: int, layout: str = "ND") -> Operand:
    """Declare an operand that the kernel writes."""
    return Operand(name, shape, dtype, layout, is_output=True)


@dataclass(frozen=True)
class Kernel:
    """What `davinci kernel list` lists: equals its reference on every legal tiling and shape."""

    name: str
    doc: str
    shape_type: type[Shape]
    tiling_type: type[Tiling]
    operands: Callable[[Any], tuple[Operand, ...]]
    reference: Callable[..., tuple[npt.NDArray[Any], ...]]
    macs: Callable[[Any], int] | None
    emit: Any
    barriers: bool = True
    optional: bool = False
    """Whether shapes may lack operands that the function takes; it is given 0 for those."""

    @property
    def source(self) -> str:
        """The function that emits as it is compiled, with the stores of its lines."""
        return ast.unparse(rewrite.plain_of(self.emit).tree)

    @property
    def module(self) -> str:
        """The module that declares the kernel."""
        return str(self.emit.__module__)

    @property
    def is_of_the_kit(self) -> bool:
        """Tell whether the kernel comes with the kit, and not from a file of the user."""
        return rewrite.is_of_the_kit(self.emit)

    @property
    def axes(self) -> tuple[str, ...]:
        """The keys that `--shape` takes."""
        return tuple(name for name in self.shape_type.names() if not name.endswith("dtype"))

    def tiling(self, shape: Shape, platform: Platform) -> Tiling:
        """Return the tiling that a search has found and that was kept, else that without a search.

        Raises:
            BadTiling: no tiling fits the chip.
        """
        from kernels.tune.store import kept

        found = kept(self, shape, platform)
        return found.tiling if found is not None else self.untuned(shape, platform)

    def untuned(self, shape: Shape, platform: Platform) -> Tiling:
        """Return the default tiling or, where its buffers do not fit the chip, the next smaller that does.

        Raises:
            BadTiling: none fits; it tells what the smallest one needs.
        """
        from kernels.lang import emission

        return emission.fitting(self, shape, platform)

    def task(
        self, shape: Shape, handles: dict[str, int], platform: Platform, tiling: Tiling | None = None
    ) -> Task:
        """Emit the kernel for tensors at `handles[operand]` in GM.

        Raises:
            BadTiling: a buffer does not fit, or events run out.
            IllegalInstruction: an instruction breaks one of its rules.
            UnsupportedInstruction: the chip lacks an instruction for an element type.
            Deadlock: a program waits for a flag that nobody sets.
        """
        from kernels.lang import emission

        return emission.task(self, shape, handles, platform, tiling)

    def emitted(
        self, shape: Shape, handles: dict[str, int], platform: Platform, tiling: Tiling | None = None
    ) -> Task:
        """Emit like `task`, but leave out the order of execution, which a wrong program may not have.

        Raises:
            BadTiling: a buffer does not fit, or events run out.
            IllegalInstruction: an instruction breaks one of its rules.
            UnsupportedInstruction: the chip lacks an instruction for an element type.
        """
        from kernels.lang import emission

        return emission.emitted(self, shape, handles, platform, tiling)

    def deferred(
        self, shape: Shape, handles: dict[str, int], platform: Platform, tiling: Tiling | None = None
    ) -> Task:
        """Return the task without emitting it: that is done when its programs are asked for, and not kept.

        What is wrong with it comes up then. For time alone: a task whose time is remembered is never emitted.
        """
        from kernels.lang import emission

        return emission.deferred(self, shape, handles, platform, tiling)

    def program(
        self, shape: Shape, platform: Platform, tiling: Tiling | None = None, block: int = 0
    ) -> Program:
        """Return the instructions of one block, for tensors that lie one after the other in GM.

        Raises:
            BadTiling: a buffer does not fit, events run out, or there are fewer blocks.
            IllegalInstruction: an instruction breaks one of its rules.
        """
        from kernels.lang import emission

        return emission.program(self, shape, platform, tiling, block)

    def plain(
        self, shape: Shape, platform: Platform, tiling: Tiling | None = None, block: int = 0,
        call: Callable[..., Any] | None = None,
    ) -> Program:  # fmt: skip
        """Return the same, emitted by plain Python: `breakpoint()`, `print` and debuggers work in the kernel.

        `call(function, *arguments)` runs the function in another way, as `pdb.runcall` does.

        Raises:
            BadTiling: a buffer does not fit, events run out, or there are too many instructions.
            IllegalInstruction: an instruction breaks one of its rules.
        """
        from kernels.lang import plain

        return plain.program(self, shape, platform, tiling, block, call)

    def handles(self, shape: Shape) -> dict[str, int]:
        """Return addresses in GM for the operands, one behind the other."""
        found, start = {}, 0
        for operand in self.operands(shape):
            found[operand.name] = start
            start += -(-operand.nbytes // ALIGN_BYTES) * ALIGN_BYTES
        return found

    def overflow(self, shape: Shape, tiling: Tiling, platform: Platform) -> Exception | None:
        """Return what is wrong with the buffers or hand-offs of a tiling, or None; block 0 is emitted."""
        from kernels.lang import emission

        return emission.overflow(self, shape, tiling, platform)


KERNELS: dict[str, Kernel] = {}
"""Every kernel by name, of the kit and then of users; `kernels.load` fills it."""


def kernel(
    shape: type[Shape],
    tiling: type[Tiling],
    operands: Callable[[Any], tuple[Operand, ...]],
    reference: Callable[..., tuple[npt.NDArray[Any], ...]],
    macs: Callable[[Any], int] | None = None,
    barriers: bool = True,
    optional: bool = False,
) -> Callable[[Callable[..., None]], Kernel]:
    """Declare a kernel: the decorated function emits one block's share.

    The function takes (core, one GM handle per operand, shape, tiling), where shape and tiling are named
    tuples of integers. `macs(shape)` counts the cube's multiplications for the roofline. Barriers within the
    vector and the cube unit are put where they are needed; `barriers=False` leaves that to the kernel.
    With `optional` a shape may lack some of the operands that the function takes, which then are 0.
    """

    def declare(function: Callable[..., None]) -> Kernel:
        rewrite.register_file(function)
        declared = Kernel(
            name=function.__name__,
            doc=(function.__doc__ or "").strip(),
            shape_type=shape,
            tiling_type=tiling,
            operands=operands,
            reference=reference,
            macs=macs,
            emit=emission_jit(function, partial(rewrite.rewrite, function, mark_lines=True)),
            barriers=barriers,
            optional=optional,
        )
        if not declared.is_of_the_kit:
            rewrite.plain_of(declared.emit)
        _enter(declared)
        return declared

    return declare


def _enter(declared: Kernel) -> None:
    """Put a kernel into the table; one of the kit keeps its name from those of users."""
    known = KERNELS.get(declared.name)
    if known is not None and known.module != declared.module and known.is_of_the_kit:
        if declared.is_of_the_kit:
            raise InternalError(f"two kernels are called {declared.name}")
        return
    KERNELS[declared.name] = declared
