"""Step through a kernel as plain Python."""

import pdb
from bdb import BdbQuit
from typing import Any

from davinci_sim.core.program import Program
from davinci_sim.errors import InternalError
from davinci_sim.isa import state as st
from davinci_sim.platforms import Platform, platform
from kernels.lang import rewrite
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.lang.states import records_of

MACHINERY = ("davinci_sim.*", "kernels.debug.*", "kernels.lang.kernel", "numba.*")
"""Modules that a step goes over."""
SHARED = ("kernels.lang.*", "kernels.pieces.*")
"""The language, and what families share: a step goes over them, too, unless it is asked to go deep."""


class KernelDebugger(pdb.Pdb):
    """Python's debugger with two further commands: `emitted [n]` and `buffers`.

    A step goes over what the language and the machine do, into what the kernel's own files do; with `deep`
    into the building blocks of the language, too.
    """

    def __init__(self, deep: bool = False, **settings: Any) -> None:
        """Take the arguments of `pdb.Pdb`."""
        super().__init__(skip=MACHINERY if deep else (*MACHINERY, *SHARED), **settings)
        self.prompt = "(kernel) "
        self.was_left = False

    def set_quit(self) -> None:
        """Leave the kernel before its end."""
        self.was_left = True
        super().set_quit()

    def get_stack(self, f: Any, t: Any) -> tuple[list[tuple[Any, int]], int]:
        """Return the frames without those of the machinery: `up` leads from a function to its caller."""
        stack, at = super().get_stack(f, t)
        current = stack[at]
        kept = [each for each in stack if each is current or not self._is_machinery(each[0])]
        return kept, kept.index(current)

    def _is_machinery(self, frame: Any) -> bool:
        return bool(self.is_skipped_module(str(frame.f_globals.get("__name__"))))

    def do_emitted(self, count: str) -> None:
        """Print the last n instructions (5) that the kernel has emitted, without barriers."""
        words = records_of(self._core())
        shown = Program(words, {})
        first = max(0, len(words) - (int(count) if count.isdigit() else 5))
        for index in range(first, len(words)):
            place = rewrite.source_text(int(words[index, 0]) >> 32 & 0xFFFFFFFF)
            self.message(f"{index:5d}  {shown.line(index)}  # {place}")

    def do_buffers(self, _: str) -> None:
        """Print the on-chip buffers that the kernel has allocated."""
        from kernels.debug.held import held_by

        for held in held_by(st.buffers_of(self._core())).values():
            self.message(str(held))

    def _core(self) -> st.CoreState:
        """Return the state of the core: of the nearest function that has one."""
        frame: Any = self.curframe
        while frame is not None:
            found = [value for value in frame.f_locals.values() if isinstance(value, st.CoreState)]
            if found:
                return found[0]
            frame = frame.f_back
        raise InternalError("a kernel is stepped through without a core")


def step(
    kernel: Kernel, shape: Shape, chip: str | Platform = "ascend910a", tiling: Tiling | None = None,
    block: int = 0, debugger: KernelDebugger | None = None,
) -> Program:  # fmt: skip
    """Emit one block under the debugger, which stops at the kernel's first line; return the program.

        from kernels.debug import step
        step(gelu, gelu.shape_type(n=1000))

    Raises:
        BdbQuit: the user has left the debugger before the kernel's end.
    """
    where = platform(chip) if isinstance(chip, str) else chip
    chosen = debugger or KernelDebugger()
    program = kernel.plain(shape, where, tiling, block, chosen.runcall)
    if chosen.was_left:
        raise BdbQuit
    return program
