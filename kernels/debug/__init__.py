"""Look into a kernel: run it to an instruction and read its buffers, or step through it as plain Python."""

from kernels.debug.run import run_until
from kernels.debug.stepping import KernelDebugger, step
from kernels.debug.stopped import Stopped

__all__ = ["KernelDebugger", "Stopped", "run_until", "step"]
