"""Instructions that some chips lack, and that kernels do another way there."""

from typing import Any

from davinci_sim.isa.fields import DTYPE_NAMES, FP16, FP32
from davinci_sim.isa.state import LACKING
from davinci_sim.platforms import Platform
from kernels.lang.emits import emits

VDIV, VSQRT, VEXP, VAXPY_MIXED = range(4)
NAMES = ("vdiv", "vsqrt", "vexp", "vaxpy_mixed")
_TO = {"vaxpy_mixed": ">fp32"}


def lacking_bits(platform: Platform) -> int:
    """Return bit 2 * i + t for every instruction NAMES[i] of type t (0 fp16, 1 fp32) that a platform lacks.

    >>> from davinci_sim.platforms import platform
    >>> lacking_bits(platform("ascend910a")), lacking_bits(platform("ascend310"))
    (0, 47)
    """
    return sum(
        1 << 2 * number + dtype
        for number, name in enumerate(NAMES)
        for dtype in ((FP16,) if name in _TO else (FP16, FP32))
        if not platform.supports(name, DTYPE_NAMES[dtype] + _TO.get(name, ""))
    )


@emits
def lacks(core: Any, instruction: int, dtype: int) -> int:
    """Return 1 if the chip lacks an instruction, given as its number here, for fp16 or fp32, else 0."""
    return int(core.state[LACKING] >> (2 * instruction + dtype) & 1)
