"""Run a kernel's function as plain Python: what debuggers step through."""

from collections.abc import Callable
from typing import Any

from davinci_sim.core.barriers import with_barriers
from davinci_sim.core.program import Program
from davinci_sim.errors import BadTiling
from davinci_sim.isa import state as st
from davinci_sim.platforms import Platform
from kernels.lang import rewrite
from kernels.lang.emission import arguments, refused, sources
from kernels.lang.kernel import Kernel, Uncompilable
from kernels.lang.refusal import NEXT
from kernels.lang.shapes import Shape, Tiling
from kernels.lang.states import new_state, records_of

PLAIN_CAPACITY = 1 << 17
"""Records of a block that is emitted as plain Python."""


def program(
    kernel: Kernel, shape: Shape, platform: Platform, tiling: Tiling | None = None, block: int = 0,
    call: Callable[..., Any] | None = None,
) -> Program:  # fmt: skip
    """Return the instructions of one block; `breakpoint()`, `print` and debuggers work in the kernel.

    `call(function, *given)` runs the function in another way, as `pdb.runcall` does.

    Raises:
        BadTiling: a buffer does not fit, events run out, or there are too many instructions.
        IllegalInstruction: an instruction breaks one of its rules.
    """
    tiling = tiling or _tiling_for(kernel, shape, platform)
    core = new_state(platform, PLAIN_CAPACITY)
    st.begin_block(core, block, tiling.blocks(shape, platform))
    function = rewrite.plain_of(kernel.emit)
    given = (core, *arguments(kernel, shape, tiling, list(kernel.handles(shape).values())))
    if call is None:
        function(*given)
    else:
        call(function, *given)
    if core.state[st.ERROR_KIND] != st.NO_ERROR:
        raise refused(kernel, core.state, shape, tiling)
    words = records_of(core)
    if core.state[st.COUNT] > len(words):
        raise BadTiling(
            f"kernel {kernel.name} of shape {shape}: {int(core.state[st.COUNT])} instructions\n"
            f"  rule: plain Python emits at most {PLAIN_CAPACITY}{NEXT}use a smaller shape"
        )
    words = with_barriers(words).copy() if kernel.barriers else words
    return Program(words, sources(words))


def _tiling_for(kernel: Kernel, shape: Shape, platform: Platform) -> Tiling:
    """Return the tiling that compiled code would use; of a kernel that cannot be compiled the default."""
    try:
        return kernel.tiling(shape, platform)
    except Uncompilable:
        return kernel.tiling_type.default(shape, platform)
