"""Memory: spaces, buffers, element types, and the layouts of tensors in them."""

from davinci_sim.memory.buffer import Buffer
from davinci_sim.memory.dtypes import (
    BF16,
    DTYPES,
    F16,
    F32,
    I4,
    I8,
    I16,
    I32,
    U8,
    U16,
    DType,
    c0,
    dtype,
    from_device,
    to_device,
)
from davinci_sim.memory.layout import LAYOUTS, Layout
from davinci_sim.memory.spaces import Space, alignment_bytes, capacity_bytes

__all__ = [
    "BF16",
    "DTYPES",
    "F16",
    "F32",
    "I4",
    "I8",
    "I16",
    "I32",
    "LAYOUTS",
    "U8",
    "U16",
    "Buffer",
    "DType",
    "Layout",
    "Space",
    "alignment_bytes",
    "c0",
    "capacity_bytes",
    "dtype",
    "from_device",
    "to_device",
]
