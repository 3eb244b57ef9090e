"""Which kernels of the kit do what a published operator did.

One function for each of the vendor's operators turns a record into launches by a rule on its tensors alone;
operators without one say why. Nothing here knows a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import kernels
from davinci_sim.memory.dtypes import dtype as dtype_of
from davinci_sim.platforms import platform
from experiments.operators.records import Record, Tensor
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape
from kernels.tiling.axes import reduction_launches
from kernels.tiling.conv2d_filter import FilterShape, best_splits

SAME, NUMBER, ROW, COLUMN = range(4)
"""What the second input of an element-wise operator is, as the kernels count it."""


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel; `tensors` names those operands that are another launch's, too."""

    kernel: Kernel
    shape: Shape
    tensors: tuple[tuple[str, str], ...] = ()

    @property
    def macs(self) -> int:
        """Multiplications with additions on the cube."""
        return int(self.kernel.macs(self.shape)) if self.kernel.macs is not None else 0

    def __str__(self) -> str:
        """Print as kernel and shape."""
        return f"{self.kernel.name} {self.shape}"


@dataclass(frozen=True)
class Rule:
    """How the records of an operator become launches, and in which class they are judged."""

    kind: str
    launches: Callable[[Record], list[Launch]]


@dataclass(frozen=True)
class Covered:
    """What the kit does for a record: launches one after the other, or none and the reason."""

    record: Record
    kind: str
    launches: tuple[Launch, ...] = ()
    reason: str = ""

    @property
    def macs(self) -> int:
        """Multiplications with additions of all launches."""
        return sum(launch.macs for launch in self.launches)

    def __str__(self) -> str:
        """Print the launches, or why there are none."""
        return "; ".join(map(str, self.launches)) or self.reason


def cover(record: Record) -> Covered:
    """Return the launches for a record."""
    rule = RULES.get(record.op)
    if rule is None:
        return Covered(record, "not covered", reason=NOT_COVERED[record.op])
    return Covered(record, rule.kind, tuple(rule.launches(record)))


def launch(name: str, axes: Mapping[str, int], dtype: str | None = None, out: str | None = None) -> Launch:
    """Return the launch of a kernel by name."""
    kernel = kernels.find(name)
    given = dict(axes) if out is None else {**axes, "out_dtype": dtype_of(out).code}
    return Launch(kernel, kernel.shape_type.of(name, given, dtype))


def _binary(name: str) -> Rule:
    def launches(record: Record) -> list[Launch]:
        longer, shorter = sorted(record.inputs[:2], key=lambda tensor: -tensor.size)
        axes = {"n": longer.size} | _pattern(longer, shorter, record.outputs[0])
        return [launch(name, axes, longer.kernel_dtype)]

    return Rule("element-wise", launches)


def _pattern(longer: Tensor, shorter: Tensor, result: Tensor) -> dict[str, int]:
    """Return how the shorter input is spread over the longer one: as a number, its rows or its columns."""
    if shorter.size == longer.size:
        return {}
    if shorter.size == 1:
        return {"pattern": NUMBER}
    short = shorter.shape
    if short == longer.shape[-len(short) :]:
        return {"pattern": ROW, "rows": longer.size // shorter.size}
    while short[-1] == 1:
        short = short[:-1]
    if short == result.shape[: len(short)]:
        return {"pattern": COLUMN, "rows": shorter.size}
    raise ValueError(f"{shorter} is neither a row nor a column of {longer}")


def _unary(name: str) -> Rule:
    return Rule(
        "element-wise",
        lambda record: [launch(name, {"n": record.outputs[0].size}, record.inputs[0].kernel_dtype)],
    )


def _cast(record: Record) -> list[Launch]:
    x, y = record.inputs[0], record.outputs[0]
    return [launch("cast", {"n": x.size}, x.kernel_dtype, y.kernel_dtype)]


def _matmul(record: Record) -> list[Launch]:
    """A transposed operand is told by its rows; where it is square it is taken as it lies."""
    a, b, c = record.inputs[0], record.inputs[1], record.outputs[0]
    m, n = c.matrix
    k = a.size // m
    axes = {
        "m": m, "k": k, "n": n, "trans_a": int(a.matrix != (m, k)), "trans_b": int(b.matrix != (k, n)),
    }  # fmt: skip
    name = "matmul_bias" if len(record.inputs) == 3 else "matmul"
    return [launch(name, axes, a.kernel_dtype, c.kernel_dtype)]


def _convolution(name: str) -> Rule:
    def launches(record: Record) -> list[Launch]:
        out = record.outputs[0].kernel_dtype
        return [launch(name, record.attributes, record.inputs[0].kernel_dtype, out)]

    return Rule("convolution backward" if "backward" in name else "convolution", launches)


def _filter_gradient(record: Record) -> list[Launch]:
    """Return the launch of as many parts as are best, and the one that adds them up."""
    dtype = record.inputs[0].kernel_dtype
    shape = FilterShape.of("conv2d_backward_filter", dict(record.attributes), dtype)
    splits = best_splits(shape, platform("ascend910a"))
    parts = launch("conv2d_backward_filter", {**record.attributes, "splits": splits}, dtype, "fp32")
    if splits == 1:
        return [parts]
    total = launch("reduce_sum", {"m": splits, "n": record.outputs[0].size, "axis": 0}, "fp32")
    return [replace(parts, tensors=(("dw_parts", "parts"),)), replace(total, tensors=(("x", "parts"),))]


def _pool(name: str) -> Rule:
    """Windows of 2 x 2, two apart: those of LeNet-5, the one network here that pools."""

    def launches(record: Record) -> list[Launch]:
        n, c1, h, w, c0 = record.inputs[0].shape
        axes = {"n": n, "c": c1 * c0, "h": h, "w": w, "kh": 2, "kw": 2, "stride": 2}
        return [launch(name, axes, record.inputs[0].kernel_dtype)]

    return Rule("pooling", launches)


def _trans_data(record: Record) -> list[Launch]:
    """Return the launch between a plain format and fractals, by whichever side is not plain."""
    x, y = record.inputs[0], record.outputs[0]
    plain, other = (x, y) if x.format == "ND" else (y, x)
    into = x is plain
    if other.format == "NC1HWC0":
        n, c, h, w = _four_axes(plain, other)
        name = "nchw_to_nc1hwc0" if into else "nc1hwc0_to_nchw"
        return [launch(name, {"n": n, "c": c, "h": h, "w": w}, x.kernel_dtype)]
    m, n = plain.shape
    return [launch("nd_to_nz" if into else "nz_to_nd", {"m": m, "n": n}, x.kernel_dtype)]


def _four_axes(plain: Tensor, other: Tensor) -> tuple[int, int, int, int]:
    n, _, h, w, _ = other.shape
    return n, plain.size // (n * h * w), h, w


def _reduce(name: str) -> Rule:
    """Reduce the axes that the result does not have, in as many launches as it takes."""

    def launches(record: Record) -> list[Launch]:
        x, y = record.inputs[0], record.outputs[0]
        cores = int(platform("ascend910a").ai_cores)
        steps = reduction_launches(name, x.shape, _lost(x.shape, y.shape), x.kernel_dtype, cores)
        made = [launch(step.kernel, step.axes, step.dtype, step.out_dtype) for step in steps]
        return [
            replace(each, tensors=(("x", f"x{at}"), ("y", f"x{at + 1}"))) for at, each in enumerate(made)
        ] or [launch(name, {"m": 1, "n": 1}, x.kernel_dtype)]

    return Rule("reduction", launches)


def _lost(before: tuple[int, ...], after: tuple[int, ...]) -> list[int]:
    """Return which axes a tensor has lost, of several possible ones the first.

    >>> _lost((16000, 39, 1), (16000, 1)), _lost((32, 10), (10,)), _lost((5,), ())
    ([1], [0], [0])
    """
    rest, lost = list(after), []
    for axis, length in enumerate(before):
        if rest and rest[0] == length and len(before) - axis >= len(rest):
            rest.pop(0)
        else:
            lost.append(axis)
    return lost


def _momentum(record: Record) -> list[Launch]:
    return [launch("apply_momentum", {"n": record.inputs[0].size})]


def _adam(record: Record) -> list[Launch]:
    return [launch("apply_adam", {"n": record.inputs[0].size})]


def _assign_add(record: Record) -> list[Launch]:
    return [launch("assign_add", {"n": record.inputs[0].size}, record.inputs[0].kernel_dtype)]


def _slice(record: Record) -> list[Launch]:
    """Return the launch that takes the first part of the one axis that becomes shorter."""
    x, y = record.inputs[0], record.outputs[0]
    axis = next(at for at, (before, after) in enumerate(zip(x.shape, y.shape, strict=True)) if before > after)
    inner = math.prod(x.shape[axis + 1 :])
    axes = {"m": math.prod(x.shape[:axis]), "n": x.shape[axis], "k": y.shape[axis], "d": inner}
    return [launch("slice_axis", axes, x.kernel_dtype)]


def _split(record: Record) -> list[Launch]:
    """Return a launch for each of the equal parts along the first axis."""
    x, parts = record.inputs[0], len(record.outputs)
    axes = {"m": 1, "n": parts, "k": 1, "d": x.size // parts}
    return [launch("slice_axis", {**axes, "start": part}, x.kernel_dtype) for part in range(parts)]


def _concat(record: Record) -> list[Launch]:
    """Return the launch that puts arrays one after the other along the first axis."""
    sizes = {"abcdefgh"[at]: tensor.size for at, tensor in enumerate(record.inputs)}
    return [launch(f"concat{len(sizes)}", {"m": 1, **sizes}, record.inputs[0].kernel_dtype)]


def _clean(record: Record) -> list[Launch]:
    """Return the launch that clears the memory that others add to, as whole words."""
    return [launch("fill_value", {"n": max(1, record.inputs[0].nbytes // 4)}, "fp32")]


def _copy(record: Record) -> list[Launch]:
    return [launch("copy", {"n": record.inputs[0].size}, record.inputs[0].kernel_dtype)]


def _fill(record: Record) -> list[Launch]:
    """Return the launch for a number that is repeated; a constant stands for it."""
    return [launch("fill_value", {"n": record.outputs[0].size}, record.outputs[0].kernel_dtype)]


def _one_hot(record: Record) -> list[Launch]:
    m, n = record.outputs[0].shape
    return [launch("one_hot", {"m": m, "n": n}, record.outputs[0].kernel_dtype)]


def _softmax_cross_entropy(record: Record) -> list[Launch]:
    m, n = record.inputs[0].shape
    return [launch("softmax_cross_entropy_with_logits", {"m": m, "n": n}, record.inputs[0].kernel_dtype)]


def _batch_norm(name: str) -> Rule:
    """Return the rule for images of n, c1, h, w, c0; a relu that is fused is told by the layer's name."""

    def launches(record: Record) -> list[Launch]:
        n, c1, h, w, c0 = record.inputs[0].shape
        axes = {"n": n, "c": c1 * c0, "h": h, "w": w}
        if "ReLU" in record.layer:
            axes["relu"] = 1
        return [launch(name, axes, record.inputs[0].kernel_dtype)]

    return Rule("normalisation", launches)


RULES: Mapping[str, Rule] = {
    "Mul": _binary("mul"),
    "RealDiv": _binary("div"),
    "BiasAdd": _binary("add"),
    "TensorAdd": _binary("add"),
    "AddN": _binary("add"),
    "AssignAdd": Rule("element-wise", _assign_add),
    "Relu": _unary("relu"),
    "ReLU": _unary("relu"),
    "ReluGrad": _unary("relu_grad"),
    "Cast": Rule("element-wise", _cast),
    "MatMul": Rule("matmul", _matmul),
    "Conv2D": _convolution("conv2d"),
    "Conv2DBackpropInputD": _convolution("conv2d_backward_input"),
    "Conv2DBackpropFilterD": Rule("convolution backward", _filter_gradient),
    "MaxPoolWithArgmax": _pool("max_pool"),
    "MaxPoolGradWithArgmax": _pool("max_pool_grad"),
    "TransData": Rule("layout", _trans_data),
    "ReduceSum": _reduce("reduce_sum"),
    "ReduceMean": _reduce("reduce_mean"),
    "ReduceMeanD": _reduce("reduce_mean"),
    "BiasAddGrad": _reduce("reduce_sum"),
    "ApplyMomentumD": Rule("optimizer", _momentum),
    "Adam": Rule("optimizer", _adam),
    "AtomicAddrClean": Rule("layout", _clean),
    "Assign": Rule("layout", _copy),
    "TensorMove": Rule("layout", _copy),
    "Tile": Rule("layout", _fill),
    "OneHotD": Rule("layout", _one_hot),
    "SigmoidCrossEntropyWithLogitsGrad": _unary("sigmoid_cross_entropy_grad"),
    "Slice": Rule("layout", _slice),
    "StridedSlice": Rule("layout", _slice),
    "Split": Rule("layout", _split),
    "Concat": Rule("layout", _concat),
    "SoftmaxCrossEntropyWithLogits": Rule("loss", _softmax_cross_entropy),
    "BNTrainingReduce": _batch_norm("batch_norm_reduce"),
    "BNTrainingUpdate": _batch_norm("batch_norm_update"),
}
"""The vendor's operators that the kit has kernels for."""
NOT_COVERED: Mapping[str, str] = {
    "ReluV2": "writes a mask of bits beside the result",
    "FusionOp_ReluGradV2_Cast": "reads a mask of bits, and casts",
    "Add+ReLU": "two operators in one; the kit fuses them behind a batch normalisation or a product",
}
"""The others, and why."""
