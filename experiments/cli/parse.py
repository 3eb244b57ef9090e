"""Read `m=64,k=32` from the command line into shapes and tilings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from davinci_sim.errors import BadShape, BadTiling, DavinciError, unknown

if TYPE_CHECKING:
    from davinci_sim.platforms import Platform
    from kernels.lang.kernel import Kernel
    from kernels.lang.shapes import Shape, Tiling


def pairs(option: str, text: str) -> dict[str, str]:
    """Return the values by key.

    >>> pairs("--shape", "m=64, k=32")
    {'m': '64', 'k': '32'}

    Raises:
        DavinciError: a part is no `key=value`, or a key comes twice.
    """
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (side.strip() for side in part.partition("="))
        if not (key and equals and value):
            raise DavinciError(f"{option} {text!r}: {part!r} is no key=value; write {option} m=64,k=32")
        if key in found:
            raise DavinciError(f"{option} {text!r}: {key} is given twice")
        found[key] = value
    return found


def integer(option: str, key: str, text: str) -> int:
    """Return a whole number; an underscore may group digits, as in Python."""
    try:
        return int(text)
    except ValueError:
        raise DavinciError(f"{option} {key}={text}: {text!r} is no whole number; write {key}=64") from None


def shape_of(kernel: Kernel, text: str, dtype: str | None) -> Shape:
    """Return the shape that `--shape` and `--dtype` describe; `out_dtype=fp32` names a type.

    Raises:
        BadShape: axes are missing or wrong, or the kernel has no operand of that type.
        UnknownName: an axis or a type that does not exist.
    """
    from davinci_sim.memory.dtypes import dtype as dtype_of

    names = kernel.shape_type.names()
    axes: dict[str, int] = {}
    for key, value in pairs("--shape", text).items():
        if key not in names or key == "dtype":
            keys = [name for name in names if name != "dtype"]
            raise unknown(f"--shape key of kernel {kernel.name}", key, keys)
        is_type = key.endswith("dtype")
        axes[key] = dtype_of(value).code if is_type else integer("--shape", key, value)
    code = None if dtype is None else dtype_of(dtype).code
    shape = kernel.shape_type.of(kernel.name, axes, dtype if "dtype" in names else None)
    operands = kernel.operands(shape)
    if code is not None and code not in {operand.dtype for operand in operands}:
        listing = ", ".join(f"{operand.name} {operand.dtype_name}" for operand in operands)
        raise BadShape(
            f"kernel {kernel.name}: no operand is {dtype_of(dtype).name}\n"
            f"  rule: its operands are {listing}\n"
            f"  next: leave --dtype out{' or write out_dtype=fp32 in --shape' * ('out_dtype' in names)}"
        )
    return shape


def tiling_of(kernel: Kernel, text: str, shape: Shape, platform: Platform) -> Tiling | None:
    """Return the default tiling with the fields that `--tiling` changes, or None if it changes none.

    Raises:
        BadTiling: a field is below 1, or the tiling leaves no core with work.
        UnknownName: a field that the kernel does not have.
    """
    fields = {key: integer("--tiling", key, value) for key, value in pairs("--tiling", text).items()}
    if not fields:
        return None
    tiling = kernel.tiling_type.of(kernel.name, fields, shape, platform)
    cores, blocks = int(platform.ai_cores), tiling.blocks(shape, platform)
    if not 1 <= blocks <= cores:
        raise BadTiling(
            f"kernel {kernel.name}: tiling {tiling} wants {blocks} cores, {platform.name} has {cores}"
        )
    return tiling
