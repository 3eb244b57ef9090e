"""Whether a chip can run a kernel: it may lack instructions or element types, or room for any tiling.

What a kernel uses is told by the program of its first block, which is emitted once for a shape and a chip:
kernels do some things another way where a chip lacks the usual one, and only the program has what is left.
"""

from __future__ import annotations

from functools import lru_cache

from davinci_sim.core.supported import UnsupportedInstruction, require_supported
from davinci_sim.errors import BadTiling
from davinci_sim.platforms import Platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape


@lru_cache(maxsize=1 << 14)
def obstacle(kernel: Kernel, shape: Shape, platform: Platform) -> str:
    """Return why a chip cannot run a kernel, in a few words, or nothing where it can.

    >>> import kernels
    >>> from davinci_sim.platforms import platform
    >>> exp, chip = kernels.find("exp"), platform("ascend310")
    >>> obstacle(exp, exp.shape_type.of("exp", {"n": 100}, "fp32"), chip)
    'ascend310 lacks vexp of fp32'
    >>> obstacle(exp, exp.shape_type.of("exp", {"n": 100}, "fp16"), chip)
    ''
    """
    if kernel.is_of_the_kit:
        from kernels.tune.remembered import about, remembered

        question = about(f"whether {kernel.name} runs", shape, platform)
        if remembered(question, lambda: [not _found(kernel, shape, platform)]) == [1]:
            return ""
    return _found(kernel, shape, platform)


def _found(kernel: Kernel, shape: Shape, platform: Platform) -> str:
    try:
        require_supported(kernel.name, [kernel.program(shape, platform)], platform)
    except (UnsupportedInstruction, BadTiling) as refusal:
        return str(refusal).splitlines()[0].rpartition(": ")[2]
    return ""
