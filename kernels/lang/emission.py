"""Emit a kernel: programs of its blocks, and what is wrong with them where they cannot be.

Model: nothing is timed here; barriers within the vector and the cube unit are put where they are needed.
"""

import dataclasses
import inspect
from functools import lru_cache, partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.task import Code, Task, Tensor
from davinci_sim.core.barriers import with_barriers
from davinci_sim.core.program import Program, Sources
from davinci_sim.core.supported import require_supported
from davinci_sim.errors import BadTiling, DavinciError
from davinci_sim.isa import state as st
from davinci_sim.isa.jit import compile_errors
from davinci_sim.platforms import Platform
from kernels.lang import rewrite
from kernels.lang.explain import explain
from kernels.lang.identity import identity
from kernels.lang.kernel import Kernel, Uncompilable
from kernels.lang.refusal import NEXT, refusal
from kernels.lang.shapes import Shape, Tiling
from kernels.lang.states import STATES

FIRST_CAPACITY = 4096  # records; grows to what a program needs
AROUND = ("core", "shape", "tiling")
"""What a kernel's function takes beside its operands: the first before, the others behind them."""


def task(
    kernel: Kernel, shape: Shape, handles: dict[str, int], platform: Platform, tiling: Tiling | None = None
) -> Task:
    """Emit the kernel for tensors at `handles[operand]` in GM.

    Raises:
        BadTiling: a buffer does not fit, or events run out.
        IllegalInstruction: an instruction breaks one of its rules.
        UnsupportedInstruction: the chip lacks an instruction for an element type.
        Deadlock: a program waits for a flag that nobody sets.
    """
    made = emitted(kernel, shape, handles, platform, tiling)
    _ = made.words  # finds the order now, so that a deadlock comes up here
    return made


def emitted(
    kernel: Kernel, shape: Shape, handles: dict[str, int], platform: Platform, tiling: Tiling | None = None
) -> Task:
    """Emit like `task`, but leave out the order of execution, which a wrong program may not have.

    Raises:
        BadTiling: a buffer does not fit, or events run out.
        IllegalInstruction: an instruction breaks one of its rules.
        UnsupportedInstruction: the chip lacks an instruction for an element type.
    """
    return deferred(kernel, shape, handles, platform, tiling).at_once()


def deferred(
    kernel: Kernel, shape: Shape, handles: dict[str, int], platform: Platform, tiling: Tiling | None = None
) -> Task:
    """Return the task of a kernel that is emitted whenever its programs are asked for, and not kept.

    What `emitted` raises comes up then.
    """
    tiling = tiling or kernel.tiling(shape, platform)
    blocks, operands = tiling.blocks(shape, platform), kernel.operands(shape)
    addresses = [handles[operand.name] for operand in operands]
    tensors = (Tensor(o.name, handles[o.name], o.nbytes, o.is_output, o.padding_bytes) for o in operands)
    key = (kernel.name, str(shape), str(tiling), platform.name, platform.digest)
    emit = partial(_code, kernel, shape, tiling, addresses, platform)
    return Task(
        kernel.name, key, blocks, emit, operands=dict(handles), tensors=tuple(tensors),
        source=identity(kernel),
    )  # fmt: skip


class Given(NamedTuple):
    """What a kernel is emitted for: shape and tiling, and all that its function takes after the core."""

    shape: Shape
    tiling: Tiling
    packed: tuple[Any, ...]


def _code(kernel: Kernel, shape: Shape, tiling: Tiling, addresses: list[int], platform: Platform) -> Code:
    """Emit all blocks."""
    blocks = tiling.blocks(shape, platform)
    given = Given(shape, tiling, arguments(kernel, shape, tiling, addresses))
    made = [_program(kernel, given, platform, block, blocks) for block in range(blocks)]
    programs = tuple(program for program, _, _ in made)
    require_supported(f"kernel {kernel.name} of shape {shape}", programs, platform)
    return Code(programs, tuple(buffers for _, buffers, _ in made), tuple(queues for _, _, queues in made))


def program(
    kernel: Kernel, shape: Shape, platform: Platform, tiling: Tiling | None = None, block: int = 0
) -> Program:
    """Return the instructions of one block, for tensors that lie one after the other in GM.

    Raises:
        BadTiling: a buffer does not fit, events run out, or there are fewer blocks.
        IllegalInstruction: an instruction breaks one of its rules.
    """
    tiling = tiling or kernel.tiling(shape, platform)
    blocks = tiling.blocks(shape, platform)
    if not 0 <= block < blocks:
        raise BadTiling(
            f"kernel {kernel.name} of shape {shape}, tiling {tiling}: there is no block {block}\n"
            f"  rule: blocks are 0 to {blocks - 1}{NEXT}choose one of them"
        )
    packed = arguments(kernel, shape, tiling, list(kernel.handles(shape).values()))
    given = Given(shape, tiling, packed)
    return _program(kernel, given, platform, block, blocks)[0]


def _program(
    kernel: Kernel, given: Given, platform: Platform, block: int, blocks: int
) -> tuple[Program, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the program of one block, its buffers and its queues."""
    capacity = FIRST_CAPACITY
    while True:
        core = STATES.get(platform, capacity)
        st.begin_block(core, block, blocks)
        try:
            kernel.emit(core, *given.packed)
        except compile_errors() as error:
            raise _uncompilable(kernel, error) from None
        if core.state[st.ERROR_KIND] != st.NO_ERROR:
            raise refused(kernel, core.state, given.shape, given.tiling)
        count = int(core.state[st.COUNT])
        if count <= len(core.words):
            words = core.words[:count]
            words = with_barriers(words) if kernel.barriers else words
            words = words.copy() if np.may_share_memory(words, core.words) else words
            return Program(words, Sources(partial(sources, words))), st.buffers_of(core), st.queues_of(core)
        capacity = count


def arguments(kernel: Kernel, shape: Shape, tiling: Tiling, addresses: list[int]) -> tuple[Any, ...]:
    """Return what the function takes after the core: an address per operand, shape and tiling."""
    function = rewrite.plain_of(kernel.emit)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    takes_any = function.__code__.co_flags & inspect.CO_VARARGS
    if kernel.optional:
        given = dict(zip((operand.name for operand in kernel.operands(shape)), addresses, strict=True))
        addresses = [given.get(name, 0) for name in names[1:-2]]
    if len(names) != len(addresses) + len(AROUND) and not takes_any:
        wanted = (AROUND[0], *(operand.name for operand in kernel.operands(shape)), *AROUND[1:])
        raise DavinciError(
            f"kernel {kernel.name}: its function takes ({', '.join(names)})\n"
            f"  rule: it takes the core, each operand, shape and tiling{NEXT}"
            f"def {kernel.name}({', '.join(wanted)})"
        )
    return (*addresses, shape.pack(), tiling.pack())


def overflow(kernel: Kernel, shape: Shape, tiling: Tiling, platform: Platform) -> Exception | None:
    """Return what is wrong with the buffers or hand-offs of a tiling, or None; block 0 is emitted."""
    core = STATES.get(platform, FIRST_CAPACITY)
    st.begin_block(core, 0, tiling.blocks(shape, platform))
    try:
        kernel.emit(core, *arguments(kernel, shape, tiling, [0] * len(kernel.operands(shape))))
    except compile_errors() as error:
        raise _uncompilable(kernel, error) from None
    if core.state[st.ERROR_KIND] in {st.NO_ERROR, st.REJECTED}:
        return None
    return refused(kernel, core.state, shape, tiling)


def _uncompilable(kernel: Kernel, error: Exception) -> DavinciError:
    """Return what is wrong with the source, and where, without the compiler's own layers."""
    function = kernel.emit.py_func
    shape, tiling = function.__code__.co_varnames[: function.__code__.co_argcount][-2:]
    fields = {shape: kernel.shape_type.names(), tiling: kernel.tiling_type.names()}
    complaint = explain(function, fields, error)
    return Uncompilable(
        f"kernel {kernel.name} cannot be compiled: {complaint.what}\n{complaint}{NEXT}{complaint.step}"
    )


def refused(kernel: Kernel, state: npt.NDArray[np.int64], shape: Shape, tiling: Tiling) -> DavinciError:
    """Turn what the emitters noted into an error that shows the user's line."""
    return refusal(f"kernel {kernel.name} of shape {shape}, tiling {tiling}", state)


def sources(words: npt.NDArray[np.int64]) -> dict[int, str]:
    """Return where records come from: `file:line` by location."""
    locations = np.unique((words[:, 0] >> 32) & 0xFFFFFFFF)
    return {int(location): rewrite.source_text(int(location)) for location in locations}


@lru_cache(maxsize=4096)
def fitting(kernel: Kernel, shape: Shape, platform: Platform) -> Tiling:
    """Return the first tiling of a kernel that fits: the default one, or a smaller one.

    Raises:
        BadTiling: none fits; it tells what the smallest one needs.
    """
    if not kernel.is_of_the_kit:
        return _first_that_fits(kernel, shape, platform)
    from kernels.tune.remembered import about, remembered

    found = remembered(
        about(f"tiling of {kernel.name}", shape, platform),
        lambda: list(dataclasses.astuple(_first_that_fits(kernel, shape, platform))),
    )
    return kernel.tiling_type(*found)


def _first_that_fits(kernel: Kernel, shape: Shape, platform: Platform) -> Tiling:
    first = kernel.tiling_type.default(shape, platform)
    wrong: Exception | None = None
    for tiling in chain([first], first.smaller()):
        wrong = overflow(kernel, shape, tiling, platform)
        if wrong is None:
            return tiling
    step = f"no smaller tiling is offered for {platform.name}; use a smaller shape, or a chip with more room"
    raise BadTiling(f"{str(wrong).rpartition(NEXT)[0]}{NEXT}{step}")
