"""A kernel: its NumPy reference, its tiling space and the function that emits, tied together."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core.errors import NumbaError, UnsupportedBytecodeError

from davinci_sim.chip.task import Task, Tensor
from davinci_sim.core.barriers import with_barriers
from davinci_sim.core.order import legal_order
from davinci_sim.core.program import Program
from davinci_sim.core.supported import require_supported
from davinci_sim.errors import BadTiling, DavinciError, InternalError
from davinci_sim.isa import state as st
from davinci_sim.isa.fields import DTYPE_NAMES
from davinci_sim.isa.jit import emission_jit
from davinci_sim.memory.dtypes import DType
from davinci_sim.memory.dtypes import dtype as dtype_of
from davinci_sim.memory.layout import LAYOUTS
from davinci_sim.platforms import Platform
from kernels.lang import rewrite
from kernels.lang.explain import explain
from kernels.lang.refusal import NEXT, refusal
from kernels.lang.shapes import Shape, Tiling
from kernels.lang.states import STATES, new_state, records_of

FIRST_CAPACITY = 4096  # records; grows to what a program needs
ALIGN_BYTES = 512
"""Tensors begin at multiples of this, as those of a chip do."""
UNCOMPILABLE = (NumbaError, UnsupportedBytecodeError)
AROUND = ("core", "shape", "tiling")
"""What a kernel's function takes beside its operands: the first before, the others behind them."""
PLAIN_CAPACITY = 1 << 17
"""Records of a block that is emitted as plain Python."""


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
    source: str
    barriers: bool = True

    @property
    def module(self) -> str:
        """The module that declares the kernel."""
        return str(getattr(self.emit, "py_func", self.emit).__module__)

    @property
    def is_of_the_kit(self) -> bool:
        """Tell whether the kernel comes with the kit, and not from a file of the user."""
        return self.module.startswith("kernels.")

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
        return _fitting(self, shape, platform)

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
        emitted = self.emitted(shape, handles, platform, tiling)
        ordered = [program.words[legal_order(program)] for program in emitted.programs]
        offsets = np.cumsum([0, *map(len, ordered)])
        return replace(emitted, words=np.concatenate(ordered), offsets=offsets)

    def emitted(
        self, shape: Shape, handles: dict[str, int], platform: Platform, tiling: Tiling | None = None
    ) -> Task:
        """Emit like `task`, but leave out the order of execution, which a wrong program may not have.

        Raises:
            BadTiling: a buffer does not fit, or events run out.
            IllegalInstruction: an instruction breaks one of its rules.
            UnsupportedInstruction: the chip lacks an instruction for an element type.
        """
        tiling = tiling or self.tiling(shape, platform)
        blocks, operands = tiling.blocks(shape, platform), self.operands(shape)
        addresses = [handles[operand.name] for operand in operands]
        made = [self._program(shape, tiling, addresses, platform, block, blocks) for block in range(blocks)]
        require_supported(f"kernel {self.name} of shape {shape}", [p for p, _, _ in made], platform)
        nothing, offsets = np.empty((0, 8), dtype=np.int64), np.zeros(1, dtype=np.int64)
        tensors = (Tensor(o.name, handles[o.name], o.nbytes, o.is_output, o.padding_bytes) for o in operands)
        return Task(
            self.name, (self.name, str(shape), str(tiling), platform.name, platform.digest),
            tuple(program for program, _, _ in made), nothing, offsets, operands=dict(handles),
            tensors=tuple(tensors), buffers=tuple(buffers for _, buffers, _ in made),
            queues=tuple(queues for _, _, queues in made),
        )  # fmt: skip

    def program(
        self, shape: Shape, platform: Platform, tiling: Tiling | None = None, block: int = 0
    ) -> Program:
        """Return the instructions of one block, for tensors that lie one after the other in GM.

        Raises:
            BadTiling: a buffer does not fit, events run out, or there are fewer blocks.
            IllegalInstruction: an instruction breaks one of its rules.
        """
        tiling = tiling or self.tiling(shape, platform)
        blocks = tiling.blocks(shape, platform)
        if not 0 <= block < blocks:
            raise BadTiling(
                f"kernel {self.name} of shape {shape}, tiling {tiling}: there is no block {block}\n"
                f"  rule: blocks are 0 to {blocks - 1}{NEXT}choose one of them"
            )
        addresses = list(self.handles(shape).values())
        return self._program(shape, tiling, addresses, platform, block, blocks)[0]

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
        tiling = tiling or self._tiling_for_plain(shape, platform)
        core = new_state(platform, PLAIN_CAPACITY)
        st.begin_block(core, block, tiling.blocks(shape, platform))
        function = getattr(self.emit, "py_func", self.emit)
        arguments = (core, *self._arguments(shape, tiling, list(self.handles(shape).values())))
        if call is None:
            function(*arguments)
        else:
            call(function, *arguments)
        if core.state[st.ERROR_KIND] != st.NO_ERROR:
            raise self._refusal(core.state, shape, tiling)
        words = records_of(core)
        if core.state[st.COUNT] > len(words):
            raise BadTiling(
                f"kernel {self.name} of shape {shape}: {int(core.state[st.COUNT])} instructions\n"
                f"  rule: plain Python emits at most {PLAIN_CAPACITY}{NEXT}use a smaller shape"
            )
        words = with_barriers(words).copy() if self.barriers else words
        return Program(words, _sources(words))

    def _tiling_for_plain(self, shape: Shape, platform: Platform) -> Tiling:
        """Return the tiling that compiled code would use; of a kernel that cannot be compiled the default."""
        try:
            return self.tiling(shape, platform)
        except Uncompilable:
            return self.tiling_type.default(shape, platform)

    def handles(self, shape: Shape) -> dict[str, int]:
        """Return addresses in GM for the operands, one behind the other."""
        found, start = {}, 0
        for operand in self.operands(shape):
            found[operand.name] = start
            start += -(-operand.nbytes // ALIGN_BYTES) * ALIGN_BYTES
        return found

    def _program(
        self, shape: Shape, tiling: Tiling, addresses: list[int], platform: Platform, block: int, blocks: int
    ) -> tuple[Program, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the program of one block, its buffers and its queues."""
        capacity = FIRST_CAPACITY
        while True:
            core = STATES.get(platform, capacity)
            st.begin_block(core, block, blocks)
            try:
                self.emit(core, *self._arguments(shape, tiling, addresses))
            except UNCOMPILABLE as error:
                raise self._uncompilable(error) from None
            if core.state[st.ERROR_KIND] != st.NO_ERROR:
                raise self._refusal(core.state, shape, tiling)
            count = int(core.state[st.COUNT])
            if count <= len(core.words):
                words = core.words[:count]
                words = with_barriers(words) if self.barriers else words
                words = words.copy() if np.may_share_memory(words, core.words) else words
                return Program(words, _sources(words)), st.buffers_of(core), st.queues_of(core)
            capacity = count

    def _arguments(self, shape: Shape, tiling: Tiling, addresses: list[int]) -> tuple[Any, ...]:
        """Return what the function takes after the core: an address per operand, shape and tiling."""
        function = getattr(self.emit, "py_func", self.emit)
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        takes_any = function.__code__.co_flags & inspect.CO_VARARGS
        if len(names) != len(addresses) + len(AROUND) and not takes_any:
            wanted = (AROUND[0], *(operand.name for operand in self.operands(shape)), *AROUND[1:])
            raise DavinciError(
                f"kernel {self.name}: its function takes ({', '.join(names)})\n"
                f"  rule: it takes the core, each operand, shape and tiling{NEXT}"
                f"def {self.name}({', '.join(wanted)})"
            )
        return (*addresses, shape.pack(), tiling.pack())

    def overflow(self, shape: Shape, tiling: Tiling, platform: Platform) -> Exception | None:
        """Return what is wrong with the buffers or hand-offs of a tiling, or None; block 0 is emitted."""
        core = STATES.get(platform, FIRST_CAPACITY)
        st.begin_block(core, 0, tiling.blocks(shape, platform))
        try:
            self.emit(core, *self._arguments(shape, tiling, [0] * len(self.operands(shape))))
        except UNCOMPILABLE as error:
            raise self._uncompilable(error) from None
        if core.state[st.ERROR_KIND] in {st.NO_ERROR, st.REJECTED}:
            return None
        return self._refusal(core.state, shape, tiling)

    def _uncompilable(self, error: Exception) -> DavinciError:
        """Return what is wrong with the source, and where, without the compiler's own layers."""
        function = self.emit.py_func
        shape, tiling = function.__code__.co_varnames[: function.__code__.co_argcount][-2:]
        fields = {shape: self.shape_type.names(), tiling: self.tiling_type.names()}
        complaint = explain(function, fields, error)
        return Uncompilable(
            f"kernel {self.name} cannot be compiled: {complaint.what}\n{complaint}{NEXT}{complaint.step}"
        )

    def _refusal(self, state: npt.NDArray[np.int64], shape: Shape, tiling: Tiling) -> DavinciError:
        """Turn what the emitters noted into an error that shows the user's line."""
        return refusal(f"kernel {self.name} of shape {shape}, tiling {tiling}", state)


def _sources(words: npt.NDArray[np.int64]) -> dict[int, str]:
    locations = np.unique((words[:, 0] >> 32) & 0xFFFFFFFF)
    return {int(location): rewrite.source_text(int(location)) for location in locations}


@lru_cache(maxsize=4096)
def _fitting(kernel: Kernel, shape: Shape, platform: Platform) -> Tiling:
    """Return the first tiling of a kernel that fits: the default one, or a smaller one."""
    first = kernel.tiling_type.default(shape, platform)
    refusal: Exception | None = None
    for tiling in chain([first], first.smaller()):
        refusal = kernel.overflow(shape, tiling, platform)
        if refusal is None:
            return tiling
    step = f"no smaller tiling is offered for {platform.name}; use a smaller shape, or a chip with more room"
    raise BadTiling(f"{str(refusal).rpartition(NEXT)[0]}{NEXT}{step}")


KERNELS: dict[str, Kernel] = {}
"""Every kernel by name, of the kit and then of users; `kernels.load` fills it."""


def kernel(
    shape: type[Shape],
    tiling: type[Tiling],
    operands: Callable[[Any], tuple[Operand, ...]],
    reference: Callable[..., tuple[npt.NDArray[Any], ...]],
    macs: Callable[[Any], int] | None = None,
    barriers: bool = True,
) -> Callable[[Callable[..., None]], Kernel]:
    """Declare a kernel: the decorated function emits one block's share.

    The function takes (core, one GM handle per operand, shape, tiling), where shape and tiling are named
    tuples of integers. `macs(shape)` counts the cube's multiplications for the roofline. Barriers within the
    vector and the cube unit are put where they are needed; `barriers=False` leaves that to the kernel.
    """

    def declare(function: Callable[..., None]) -> Kernel:
        emitting, source = rewrite.rewritten(function, mark_lines=True)
        declared = Kernel(
            name=function.__name__,
            doc=(function.__doc__ or "").strip(),
            shape_type=shape,
            tiling_type=tiling,
            operands=operands,
            reference=reference,
            macs=macs,
            emit=emission_jit(emitting),
            source=source,
            barriers=barriers,
        )
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
