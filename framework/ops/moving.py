"""How operators that move values run on the device; see `framework.ops.lowering`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import permutations
from typing import Any

from framework.ops.lowering import Launch, NotOnDevice, Types, device_dtype

ORDERS = tuple(permutations(range(4)))
"""The orders of axes that the kernel knows, by their numbers."""
JOINED = (2, 3, 4)
"""How many tensors kernels put together at once."""
FULL = ("slice", None, None, None)


def around(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    """Return the number of rows before an axis and of elements behind it."""
    return math.prod(shape[:axis]), math.prod(shape[axis + 1 :])


def transpose(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower a permutation of up to four axes."""
    (x,), perm = ins, attrs["perm"]
    missing = len(ORDERS[0]) - x.ndim
    if missing < 0:
        raise NotOnDevice(f"the device transposes four axes at most, not {x}")
    order = (*range(missing), *(axis + missing for axis in perm))
    lengths = dict(zip("abcd", (*(1,) * missing, *x.shape), strict=True))
    axes = {**lengths, "perm": ORDERS.index(order)}
    return [Launch("transpose", axes, ("in0", "out0"), device_dtype(x))]


def broadcast_to(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower a repetition along axes that are neighbours."""
    (x,), (y,) = ins, outs
    shape = (1,) * (y.ndim - x.ndim) + x.shape
    repeated = [axis for axis in range(y.ndim) if shape[axis] != y.shape[axis]]
    first, last = (repeated[0], repeated[-1]) if repeated else (0, -1)
    if x.size == 0 or any(shape[axis] != 1 for axis in range(first, last + 1)):
        raise NotOnDevice(f"the device repeats along neighbouring axes, not {x} to {y}")
    axes = {"m": math.prod(y.shape[:first]), "k": math.prod(y.shape[first : last + 1])}
    return [Launch("tile", axes | {"n": math.prod(y.shape[last + 1 :])}, ("in0", "out0"), device_dtype(x))]


def concat(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower a few tensors side by side."""
    if len(ins) not in JOINED:
        raise NotOnDevice(f"the device puts {JOINED} tensors together, not {len(ins)}")
    axis = attrs["axis"]
    m, d = around(ins[0].shape, axis)
    widths = dict(zip("abcd", (each.shape[axis] * d for each in ins), strict=False))
    names = (*(f"in{at}" for at in range(len(ins))), "out0")
    return [Launch(f"concat{len(ins)}", {"m": m, **widths}, names, device_dtype(ins[0]))]


def index(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower a part that is known when compiling and cuts one axis."""
    x, spec = ins[0], [item for item in attrs["spec"] if item is not None]
    cut = [axis for axis, item in enumerate(spec) if item != FULL]
    if len(ins) > 1 or len(cut) != 1 or outs[0].size == 0:
        raise NotOnDevice(f"the device takes a part along one axis, not {attrs['spec']} of {x}")
    axis = cut[0]
    item = spec[axis]
    part = range(item, item + 1) if isinstance(item, int) else range(*slice(*item[1:]).indices(x.shape[axis]))
    if part.step < 1:
        raise NotOnDevice("the device goes forward along an axis")
    m, d = around(x.shape, axis)
    axes = {"m": m, "n": x.shape[axis], "k": len(part), "start": part.start, "step": part.step, "d": d}
    return [Launch("slice_axis", axes, ("in0", "out0"), device_dtype(x))]


def pad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower zeros around one axis."""
    (x,) = ins
    padded = [axis for axis, pair in enumerate(attrs["widths"]) if any(pair)]
    if len(padded) != 1 or attrs["value"] != 0 or x.size == 0:
        raise NotOnDevice(f"the device puts zeros around one axis, not {attrs['value']} around {padded}")
    axis = padded[0]
    (before, after), (m, d) = attrs["widths"][axis], around(x.shape, axis)
    axes = {"m": m, "n": x.shape[axis], "before": before, "after": after, "d": d}
    return [Launch("pad", axes, ("in0", "out0"), device_dtype(x))]
