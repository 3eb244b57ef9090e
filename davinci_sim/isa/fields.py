"""What an instruction's declaration is made of: operands, sizes, strides, masks, immediates."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from davinci_sim.memory.spaces import Space

FP16, FP32, INT32, INT8, UINT8, INT16, UINT16, BF16, INT4 = range(9)
"""Codes of the element types in a record; the order is that of `davinci_sim.memory.dtypes`."""

DTYPE_NAMES = ("fp16", "fp32", "int32", "int8", "uint8", "int16", "uint16", "bf16", "int4")


class Declaration:
    """Base of every declared instruction; `@instruction` replaces it by the function that kernels call.

    To a type checker a declaration therefore takes what that function takes: the core and numbers.
    """

    instruction: ClassVar[Any]
    cycles: ClassVar[Callable[..., Any]]
    accesses: ClassVar[Callable[..., Any]]
    execute: ClassVar[Callable[..., Any]]

    def __init__(self, core: Any, *operands: int | float, **named: int | float) -> None:
        """Append one record to what the core does."""


@dataclass(frozen=True)
class Field:
    """One named value of an instruction: `width_bytes` in the record, legal from `low` to `high`."""

    width_bytes: int
    low: int
    high: int
    default: int | float | None = None
    name: str = ""

    def __set_name__(self, _owner: type, name: str) -> None:
        """Take the name of the first declaration that has the field."""
        if not self.name:
            object.__setattr__(self, "name", name)

    @property
    def rule(self) -> str:
        """Say what is legal, as an error message wants it."""
        return f"must lie between {self.low} and {self.high}"


@dataclass(frozen=True)
class Operand(Field):
    """A range of memory: a handle whose space and alignment the instruction fixes."""

    spaces: tuple[Space, ...] = ()
    align_bytes: int = 1
    written: bool = False

    @property
    def rule(self) -> str:
        """Say where the operand must live."""
        places = " or ".join(space.name for space in self.spaces)
        aligned = f", aligned to {self.align_bytes} bytes" if self.align_bytes > 1 else ""
        return f"must live in {places}{aligned}"


@dataclass(frozen=True)
class MaskField(Field):
    """The lanes of a repeat that are written; two words in the record."""


@dataclass(frozen=True)
class ImmediateField(Field):
    """A float32 constant, kept as its bits."""


def Out(*spaces: Space, align: int = 32) -> Operand:  # noqa: N802 - reads as a type in declarations
    """Declare an operand that the instruction writes."""
    return Operand(8, 0, 0, None, spaces=spaces, align_bytes=align, written=True)


def In(*spaces: Space, align: int = 32) -> Operand:  # noqa: N802
    """Declare an operand that the instruction reads."""
    return Operand(8, 0, 0, None, spaces=spaces, align_bytes=align)


def Size(high: int, low: int = 0, default: int | None = None) -> Field:  # noqa: N802
    """Declare an unsigned number from `low` to `high`."""
    width = next(width for width in (1, 2, 4, 8) if high < 1 << (8 * width))
    return Field(width, low, high, default)


def Flag(default: int | None = 0) -> Field:  # noqa: N802
    """Declare a number that is 0 or 1."""
    return Field(1, 0, 1, default)


def Mask() -> MaskField:  # noqa: N802
    """Declare the lane mask of a vector instruction; a kernel gives the number of leading lanes."""
    return MaskField(16, -1, 128, 128)


def Immediate(default: float | None = None) -> ImmediateField:  # noqa: N802
    """Declare a float32 constant."""
    return ImmediateField(4, 0, 0, default)
