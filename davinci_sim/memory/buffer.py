"""A named range of one memory space."""

from __future__ import annotations

from dataclasses import dataclass

from davinci_sim.errors import BadShape, out_of_space, unknown
from davinci_sim.memory.dtypes import DType
from davinci_sim.memory.layout import LAYOUTS
from davinci_sim.memory.spaces import Space, capacity_bytes
from davinci_sim.platforms import Platform


@dataclass(frozen=True, slots=True)
class Buffer:
    """A range of one memory space that holds a tensor in a layout.

    >>> from davinci_sim.memory.dtypes import F16
    >>> Buffer("a0", Space.L1, 0, (64, 32), F16, "NZ")
    a0@L1[64, 32] fp16 NZ
    """

    name: str
    space: Space
    address_bytes: int
    shape: tuple[int, ...]
    dtype: DType
    layout: str = "ND"

    def __post_init__(self) -> None:
        """Refuse a layout that does not exist, a shape it cannot hold, a negative address."""
        if self.layout not in LAYOUTS:
            raise unknown("layout", self.layout, LAYOUTS)
        LAYOUTS[self.layout].device_shape(self.shape, self.dtype)
        if self.address_bytes < 0:
            raise BadShape(f"{self}: its address {self.address_bytes} is negative; addresses start at 0")

    @property
    def nbytes(self) -> int:
        """Bytes taken, padding included."""
        return LAYOUTS[self.layout].bytes(self.shape, self.dtype)

    @property
    def device_shape(self) -> tuple[int, ...]:
        """The shape in memory, as the layout orders and pads it."""
        return LAYOUTS[self.layout].device_shape(self.shape, self.dtype)

    @property
    def end_bytes(self) -> int:
        """The first address behind the buffer."""
        return self.address_bytes + self.nbytes

    def check(self, platform: Platform) -> None:
        """Raise OutOfSpace when the buffer outgrows its space on `platform`."""
        available = capacity_bytes(self.space, platform) - self.address_bytes
        if self.nbytes > available:
            where = f"{self.space} of {platform.name} from address {self.address_bytes}"
            raise out_of_space(self, where, self.nbytes, max(available, 0))

    def __repr__(self) -> str:
        """Print as `a0@L1[64, 32] fp16 NZ`."""
        return f"{self.name}@{self.space}{list(self.shape)} {self.dtype} {self.layout}"

    __str__ = __repr__
