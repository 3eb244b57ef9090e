"""The operator store: what the kernels on the device ask of their tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from functools import cache

import kernels
from davinci_sim.errors import BadShape
from davinci_sim.memory.dtypes import dtype as element_type
from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import MEMCPY, PICK, PUSH, Graph, Node
from framework.ir.types import TensorType
from framework.ops.lowering import Launch, device_dtype
from kernels.able import obstacle
from kernels.lang.kernel import Kernel, Operand
from kernels.lang.shapes import Shape
from kernels.tune.remembered import about, remembered

ANY = "any"
"""The format of a flat kernel's tensors: any one, the same for all of them."""
AS_IT_LIES = "as it lies"
"""That of the only tensor of a flat kernel, which it reduces to something small."""
COPIES = (MEMCPY, PUSH, PICK)
"""Nodes that move the first value that they take to the one that they give."""

BY_ELEMENT = ("all_reduce",)
"""Operators without a kernel that give each element for those at the same place, in whatever format."""

CONVERSIONS = {
    ("ND", "NC1HWC0"): ("nchw_to_nc1hwc0", ("n", "c", "h", "w")),
    ("NC1HWC0", "ND"): ("nc1hwc0_to_nchw", ("n", "c", "h", "w")),
    ("ND", "FRACTAL_Z"): ("oihw_to_fractal_z", ("o", "c", "kh", "kw")),
    ("FRACTAL_Z", "ND"): ("fractal_z_to_oihw", ("o", "c", "kh", "kw")),
    ("ND", "NC1HWC0_C04"): ("nchw_to_nc1hwc0_c04", ("n", "c", "h", "w")),
    ("ND", "FRACTAL_Z_C04"): ("oihw_to_fractal_z_c04", ("o", "c", "kh", "kw")),
    ("FRACTAL_Z_C04", "ND"): ("fractal_z_c04_to_oihw", ("o", "c", "kh", "kw")),
    ("ND", "NZ"): ("nd_to_nz", ("b", "m", "n")),
    ("NZ", "ND"): ("nz_to_nd", ("b", "m", "n")),
}
"""(from, to) -> the kernel that converts, and its axes; `b` takes all in front of a matrix."""


def _filter_splits(shape: Shape, platform: Platform) -> int:
    from kernels.tiling.conv2d_filter import FilterShape, best_splits

    assert isinstance(shape, FilterShape)
    return best_splits(shape, platform)


SPLITS: dict[str, Callable[[Shape, Platform], int]] = {"conv2d_backward_filter": _filter_splits}
"""Kernel -> in how many parts its sum is best computed; its lowering takes the number as an attribute."""

CONVERTIBLE = ("float16", "float32")


IN_PLACE = {
    "batch_norm_update": {"new_mean": "mean", "new_variance": "variance"},
    "batch_norm_update_add": {"new_mean": "mean", "new_variance": "variance"},
}
"""Kernel -> result -> the operand that it may lie over, beside those that go by element.

A block that does not store moving averages has no use for the ones that it has read.
"""

OWN: dict[str, Kernel] = {}
"""Kernels of the user that were made operators, by name."""


def add(own: Kernel) -> str:
    """Return the name by which launches call a kernel of the user: with its file where the name is taken."""
    if kernels.is_known(own.name) and kernels.find(own.name) is own:
        return own.name
    known = OWN.get(own.name)
    is_taken = kernels.is_known(own.name) or (known is not None and known.module != own.module)
    name = f"{own.module}.{own.name}" if is_taken else own.name
    OWN[name] = own
    return name


@cache
def _of_the_kit(name: str) -> Kernel:
    return kernels.find(name)


def kernel(name: str) -> Kernel:
    """Return a kernel by name: one of the user, or of the kit."""
    return OWN.get(name) or _of_the_kit(name)


def shape_of(launch: Launch, **changed: int) -> Shape:
    """Return the kernel's shape for a launch."""
    shape_type = kernel(launch.kernel).shape_type
    axes = {**launch.axes, **changed}
    if launch.out_dtype is not None:
        axes["out_dtype"] = element_type(launch.out_dtype).code
    has_dtype = "dtype" in shape_type.names()
    return shape_type.of(launch.kernel, axes, launch.dtype if has_dtype else None)


@cache
def _declared(declared: Kernel, shape: Shape) -> tuple[Operand, ...]:
    return declared.operands(shape)


def operands(launch: Launch, **changed: int) -> tuple[Operand, ...]:
    """Return the operands that the kernel declares for a launch."""
    return _declared(kernel(launch.kernel), shape_of(launch, **changed))


def refusal(launch: Launch, platform: Platform) -> str:
    """Return why a chip cannot run a launch, or nothing where it can."""
    reason = obstacle(kernel(launch.kernel), shape_of(launch), platform)
    return f"kernel {launch.kernel}: {reason}" if reason else ""


def lacking(node: Node, platform: Platform) -> str:
    """Return why a chip cannot run a node's launches, or nothing where it can."""
    return next(filter(None, (refusal(launch, platform) for launch in node.launches)), "")


def conversion(type_: TensorType, source: str, target: str, platform: Platform) -> Launch | None:
    """Return the launch that converts a tensor to another format; None: no kernel does on this chip."""
    kernel_name, letters = CONVERSIONS.get((source, target), ("", ()))
    if not letters or type_.dtype.name not in CONVERTIBLE or type_.ndim < len(set(letters) - {"b"}):
        return None
    shape = type_.shape
    if letters[0] == "b":
        shape = (math.prod(shape[:-2]) if len(shape) > 2 else 0, *shape[-2:])
    elif len(shape) != len(letters):
        return None
    axes = dict(zip(letters, shape, strict=True))
    launch = Launch(kernel_name, axes, ("in0", "out0"), device_dtype(type_))
    try:
        operands(launch)
    except BadShape:
        return None
    return None if refusal(launch, platform) else launch


@cache
def best_splits(name: str, shape: Shape, platform: Platform) -> int | None:
    """Return in how many parts a kernel's sum is best computed, None for kernels that have no choice."""
    if name not in SPLITS:
        return None
    question = about(f"splits of {name}", shape, platform)
    return remembered(question, lambda: [SPLITS[name](shape, platform)])[0]


def shares(node: Node, launch: Launch, value: str, target: Set[str]) -> bool:
    """Tell whether a launch may write a value over these, of which it reads at most the one that it may."""
    allowed = IN_PLACE.get(launch.kernel, {})
    named = [
        (operand.name, node.value(reference))
        for operand, reference in zip(operands(launch), launch.operands, strict=True)
        if reference.startswith(("in", "out"))
    ]
    written = {allowed.get(name) for name, each in named if each == value}
    return bool(allowed) and written == {name for name, each in named if each in target}


def formats(graph: Graph, node: Node) -> dict[str, str]:
    """Return the format that a node wants each of its values in; ANY where its kernel is flat, or it copies.

    So do collectives that go by element; other nodes without a kernel (views, jumps, host) want ND.
    """
    wanted = dict.fromkeys((*node.inputs, *node.outputs), "ND")
    if node.op in (*COPIES, *BY_ELEMENT):
        return wanted | {node.inputs[0]: ANY, node.outputs[0]: ANY}
    asked: dict[str, list[str]] = {}
    for launch in node.launches:
        declared = dict(zip(launch.operands, operands(launch), strict=True))
        full = max(map(_count, declared.values()))
        flat = [name for name, operand in declared.items() if launch.flat and _count(operand) == full]
        for reference, operand in declared.items():
            if reference.startswith(("in", "out")):
                layout = _any(flat) if reference in flat else operand.layout
                asked.setdefault(node.value(reference), []).append(launch.formats.get(reference, layout))
    return wanted | {name: _strictest(each) for name, each in asked.items()}


def _strictest(asked: Sequence[str]) -> str:
    """Return what the last launch asks that asks for something."""
    return next((each for each in reversed(asked) if each != AS_IT_LIES), AS_IT_LIES)


def _any(flat: Sequence[str]) -> str:
    """Return what a flat kernel asks of its full-sized tensors."""
    (first, *others) = flat
    return ANY if others or first.startswith("out") else AS_IT_LIES


def _count(operand: Operand) -> int:
    return math.prod(operand.shape)
