"""Windows that move over images: what kernels of convolutions and of pooling have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.ops.lowering.launch import NotOnDevice

SIDES = ("more_top", "more_bottom", "more_left", "more_right")


def steps(kind: str, attrs: Mapping[str, Any], *keys: str) -> dict[str, int]:
    """Return attributes that the kernels have one number for, which counts along both axes."""
    for key in keys:
        if len(set(attrs[key])) != 1:
            raise NotOnDevice(f"{kind} kernels take one {key} for both axes, not {attrs[key]}")
    return {key: attrs[key][0] for key in keys}


def padding(pad: tuple[int, int, int, int]) -> dict[str, int]:
    """Return the padding that all sides have, and by how much single ones have more.

    >>> padding((1, 1, 1, 1)), padding((2, 3, 2, 3))
    ({'pad': 1}, {'pad': 2, 'more_bottom': 1, 'more_right': 1})
    """
    least = min(pad)
    more = {name: side - least for name, side in zip(SIDES, pad, strict=True) if side > least}
    return {"pad": least, **more}
