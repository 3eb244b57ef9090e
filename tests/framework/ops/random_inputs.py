"""Random inputs and attributes of every operator with a gradient, from its entry in the operator table.

What broadcasts has shapes by its `axes`; the others are drawn here by name. Values are between the bounds
that the first sample of the operator sets.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from davinci_sim.errors import DavinciError
from framework.ir import TensorType
from framework.ir.subscript import taken_apart
from framework.ops import OPERATORS, Op
from framework.ops.op import Arg
from tests.framework.ops.test_indexing import indexed

LENGTHS = st.integers(1, 4)
SMALL = st.integers(1, 2)


def shapes(least=0, most=3):
    """Shapes of some rank."""
    return st.lists(LENGTHS, min_size=least, max_size=most).map(tuple)


def axis_of(shape):
    """An axis, from either end."""
    return st.integers(-len(shape), len(shape) - 1)


@st.composite
def within(draw, shape):
    """Return a shape that broadcasts to a shape."""
    tail = shape[draw(st.integers(0, len(shape))) :]
    return tuple(draw(st.sampled_from([1, length])) for length in tail)


def values(draw, op: Op, given):
    """Return an array of each shape, in the dtype and bounds of the first sample of float64."""
    first = next(each for each in op.samples if any(arg.dtype == "float64" for arg in each.args))
    generator = np.random.default_rng(draw(st.integers(0, 999)))
    args = [first.args[min(at, len(first.args) - 1)] for at in range(len(given))]
    return [
        replace(arg, shape=shape).draw(generator, 0.1137 * at)
        for at, (arg, shape) in enumerate(zip(args, given, strict=True))
    ]


@st.composite
def inputs(draw, op: Op):
    """Return arrays and attributes that the operator takes."""
    if op.name in DRAWN:
        drawn = DRAWN[op.name](draw)
        if isinstance(drawn[0][0] if drawn[0] else None, np.ndarray):
            return drawn
        return values(draw, op, drawn[0]), drawn[1]
    attrs, whole = dict(op.samples[0].attrs), draw(shapes())
    terms = op.axes.split("->")[0].split(",")
    assert set(terms) <= {"...", ""}, f"{op.name}: say in {__file__} how its inputs are drawn"
    given = [draw(within(whole)) if term else () for term in terms]
    if not is_legal(op, given, attrs):  # an operator whose inputs do not broadcast
        given = [whole if term else () for term in terms]
    return values(draw, op, given), attrs


def is_legal(op, given, attrs):
    """Tell whether an operator takes float64 of some shapes."""
    args = op.samples[0].args
    try:
        op.infer_types([TensorType.of(replace(arg, shape=shape).draw(np.random.default_rng(1)))
                        for arg, shape in zip(args, given, strict=True)], attrs)  # fmt: skip
    except DavinciError:
        return False
    return True


def _reshape(draw):
    shape = draw(shapes())
    wanted = list(draw(st.permutations([*shape, 1])))
    if draw(st.booleans()):
        wanted[draw(st.integers(0, len(wanted) - 1))] = -1
    return [shape], {"shape": tuple(wanted)}


def _transpose(draw):
    shape = draw(shapes(1, 4))
    return [shape], {"perm": tuple(draw(st.permutations(range(len(shape)))))}


def _broadcast_to(draw):
    whole = draw(shapes())
    return [draw(within(whole))], {"shape": whole}


def _concat(draw):
    shape = draw(shapes(1, 3))
    axis = draw(axis_of(shape))
    lengths = draw(st.lists(LENGTHS, min_size=1, max_size=3))
    return [(*shape[:axis], each, *shape[axis:][1:]) for each in lengths], {"axis": axis}


def _pad(draw):
    shape = draw(shapes(1, 3))
    return [shape], {"widths": tuple(draw(st.tuples(*[st.integers(0, 2)] * 2)) for _ in shape), "value": 0.5}


def _reduce(draw):
    shape = draw(shapes(1, 3))
    some = st.sets(st.integers(0, len(shape) - 1), min_size=1).map(lambda found: tuple(sorted(found)))
    return [shape], {"axes": draw(st.none() | axis_of(shape) | some), "keepdims": draw(st.booleans())}


def _along_the_first(draw):
    """A collective of one rank."""
    return [draw(shapes(1))], {"ranks": 1}


def _cumsum(draw):
    shape = draw(shapes(1, 3))
    return [shape], {"axis": draw(axis_of(shape)), "reverse": draw(st.booleans())}


def _softmax(draw):
    shape = draw(shapes(1, 3))
    return [shape], {"axis": draw(axis_of(shape))}


def _softmax_grad(draw):
    (shape,), attrs = _softmax(draw)
    return [shape, shape], attrs


def _layer_norm(draw):
    shape = draw(shapes(1, 3))
    return [shape, shape[-1:], shape[-1:]], {"eps": draw(st.sampled_from([1e-2, 0.1]))}


def _layer_norm_grad(draw):
    shape = draw(shapes(1, 3))
    return [shape, shape, shape[:-1], shape[:-1], shape[-1:]], {}


def _attention(draw):
    b, heads, t, s, d = (draw(st.integers(1, 3)) for _ in range(5))
    q, k = (b, heads, t, d), (b, heads, s, d)
    return [q, k, k, *draw(st.sampled_from([(), ((b, 1, t, s),), ((1, 1, t, s),)]))], {}


def _attention_grad(draw):
    (q, k, v, *mask), _ = _attention(draw)
    return [q, q, k, v, q, q[:3], *mask], {}


def _dropout(draw):
    return [draw(shapes()), (16,)], {"keep_prob": draw(st.sampled_from([0.1, 0.5, 0.9]))}


def _dropout_grad(draw):
    shape = draw(shapes())
    return [shape, (32,)], {"keep_prob": draw(st.sampled_from([0.1, 0.5, 0.9]))}


def _gather(draw):
    rows = draw(st.integers(4, 6))  # the numbers of the sample are below 4
    return [(rows, draw(LENGTHS)), draw(shapes(0, 2))], {}


def _scatter_add(draw):
    index = draw(shapes(0, 2))
    return [(*index, draw(LENGTHS)), index], {"rows": draw(st.integers(1, 6))}


def _matmul(draw):
    m, k, n = (draw(LENGTHS) for _ in range(3))
    lead, (turn_a, turn_b) = draw(shapes(0, 2)), (draw(st.booleans()) for _ in range(2))
    a, b = draw(within(lead)), draw(within(lead))
    given = [(*a, k, m) if turn_a else (*a, m, k), (*b, n, k) if turn_b else (*b, k, n)]
    return given, {"transpose_a": turn_a, "transpose_b": turn_b}


def _bias_add(draw):
    shape = draw(shapes(1, 4))
    axis = draw(axis_of(shape))
    return [shape, (shape[axis],)], {"axis": axis}


def _bias_add_grad(draw):
    (shape, _), attrs = _bias_add(draw)
    return [shape], attrs


def _convolution(draw):
    """Return the shapes of image, filter and result, and how the window goes."""
    n, c, o = (draw(SMALL) for _ in range(3))
    kernel, dilation = draw(st.tuples(SMALL, LENGTHS)), draw(st.tuples(SMALL, SMALL))
    attrs = {"stride": draw(st.tuples(SMALL, SMALL)), "pad": draw(st.tuples(*[st.integers(0, 2)] * 4)),
             "dilation": dilation}  # fmt: skip
    h, w = ((k - 1) * d + draw(LENGTHS) for k, d in zip(kernel, dilation, strict=True))
    x, weight = (n, c, h, w), (o, c, *kernel)
    (y,) = OPERATORS["conv2d"].infer_types([_float64(x), _float64(weight)], {**attrs, "out_dtype": None})
    return x, weight, y.shape, attrs


def _conv2d(draw):
    x, weight, _, attrs = _convolution(draw)
    return [x, weight], attrs


def _conv2d_backward_input(draw):
    x, weight, y, attrs = _convolution(draw)
    return [y, weight], {**attrs, "input_shape": x}


def _conv2d_backward_filter(draw):
    x, weight, y, attrs = _convolution(draw)
    return [y, x], {**attrs, "weight_shape": weight}


def _max_pool(draw):
    kernel, stride = draw(st.tuples(SMALL, LENGTHS)), draw(st.tuples(SMALL, SMALL))
    pad = tuple(draw(st.integers(0, length - 1)) for length in kernel for _ in range(2))
    h, w = (length + draw(st.integers(0, 3)) for length in kernel)
    return [(draw(SMALL), draw(SMALL), h, w)], {"kernel": kernel, "stride": stride, "pad": pad}


def _pooled(draw):
    """Return an image, a cotangent of what is pooled from it, which taps have won, and attributes."""
    (shape,), attrs = _max_pool(draw)
    (x,) = values(draw, OPERATORS["max_pool_with_argmax"], [shape])
    best, winners = OPERATORS["max_pool_with_argmax"].run([x], attrs)
    return x, np.cos(best), winners, attrs


def _max_pool_grad(draw):
    x, dy, winners, attrs = _pooled(draw)
    return [dy, winners], {**attrs, "input_shape": x.shape}


def _max_pool_take(draw):
    x, _, winners, attrs = _pooled(draw)
    return [x, winners], attrs


def _avg_pool(draw):
    given, attrs = _max_pool(draw)
    return given, {**attrs, "include_pad": draw(st.booleans())}


def _avg_pool_grad(draw):
    (x,), attrs = _avg_pool(draw)
    return [OPERATORS["avg_pool"].infer_types([_float64(x)], attrs)[0].shape], {**attrs, "input_shape": x}


def _image(draw):
    return tuple(draw(LENGTHS) for _ in "nchw")


def _global_avg_pool(draw):
    return [_image(draw)], {}


def _global_avg_pool_grad(draw):
    x = _image(draw)
    return [(*x[:2], 1, 1)], {"input_shape": x}


def _batch_norm(draw):
    x = _image(draw)
    return [x, *[x[1:2]] * 4], {"eps": 0.1, "momentum": draw(st.floats(0, 1))}


def _batch_norm_grad(draw):
    x = _image(draw)
    return [x, x, *[x[1:2]] * 3], {}


def _batch_norm_inference(draw):
    given, _ = _batch_norm(draw)
    return given, {"eps": 0.1}


def _probabilities(draw):
    (logits, _), _ = _labels(draw)
    shares = np.random.default_rng(draw(st.integers(0, 999))).uniform(0.1, 1, logits.shape)
    return [logits, shares / shares.sum(axis=1, keepdims=True)], {}


def _labels(draw):
    m, n = draw(LENGTHS), draw(LENGTHS)
    logits = values(draw, OPERATORS["softmax_cross_entropy"], [(m, n)])[0]
    return [logits, np.array(draw(st.lists(st.integers(0, n - 1), min_size=m, max_size=m)), np.int32)], {}


def _loss_grad(draw):
    (logits, labels), _ = _labels(draw)
    return [logits, labels, Arg(labels.shape).draw(np.random.default_rng(1))], {}


def _index(draw):
    x, key = draw(indexed())
    spec, indices = taken_apart(key)
    return [np.cos(x), *map(np.asarray, indices)], {"spec": spec}


def _index_written(draw):
    x, key = draw(indexed())
    spec, indices = taken_apart(key)
    y = Arg(draw(within(x[key].shape))).draw(np.random.default_rng(1))
    return [np.cos(x), y, *map(np.asarray, indices)], {"spec": spec}


def _float64(shape):
    return TensorType.of(np.zeros(shape))


DRAWN = {
    "reshape": _reshape, "transpose": _transpose, "broadcast_to": _broadcast_to, "concat": _concat,
    "pad": _pad, "all_gather": _along_the_first, "reduce_scatter": _along_the_first,
    "reduce_sum": _reduce, "reduce_mean": _reduce, "reduce_max": _reduce, "reduce_min": _reduce,
    "reduce_prod": _reduce, "cumsum": _cumsum, "softmax": _softmax, "matmul": _matmul, "bias_add": _bias_add,
    "bias_add_grad": _bias_add_grad, "conv2d": _conv2d, "conv2d_backward_input": _conv2d_backward_input,
    "conv2d_backward_filter": _conv2d_backward_filter, "max_pool_with_argmax": _max_pool,
    "max_pool_grad": _max_pool_grad, "max_pool_take": _max_pool_take, "softmax_cross_entropy": _labels,
    "softmax_cross_entropy_grad": _loss_grad, "index": _index, "index_update": _index_written,
    "index_add": _index_written, "avg_pool": _avg_pool, "avg_pool_grad": _avg_pool_grad,
    "global_avg_pool": _global_avg_pool, "global_avg_pool_grad": _global_avg_pool_grad,
    "batch_norm": _batch_norm, "batch_norm_grad": _batch_norm_grad,
    "batch_norm_inference": _batch_norm_inference, "softmax_cross_entropy_with_logits": _probabilities,
    "log_softmax": _softmax, "softmax_grad": _softmax_grad, "log_softmax_grad": _softmax_grad,
    "layer_norm": _layer_norm, "layer_norm_grad": _layer_norm_grad, "dropout": _dropout,
    "attention": _attention, "attention_grad": _attention_grad, "dropout_grad": _dropout_grad,
    "gather": _gather, "scatter_add": _scatter_add,
}  # fmt: skip
"""name -> shapes, or arrays where these depend on each other, and attributes"""
