"""Random small networks as users write them: layers, residuals, heads, joins, branches, loops, optimizers.

They are drawn by Hypothesis into a Func over named parameters, with an array for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from framework import ops
from framework.autodiff.reverse import differentiate
from framework.dtypes import dtype
from framework.ir import Builder, Func, TensorType
from framework.ir.builder import Sym, restored
from framework.ir.flow import Part, branch, loop
from framework.passes import FLAT, run

HALF, WIDE = dtype("float16"), dtype("float32")
COUNT = TensorType((), dtype("int64"))
STATEMENTS, MOST_OLD = (3, 1, 2, 4), 3
MATRIX, WINDOW = 2, 3
SMALL, LARGE = 16, 96
"""Axes shorter than the one are not parted, longer than the other not joined."""
Array = np.ndarray[Any, Any]
Sized = tuple[tuple[int, ...], str]
INPUTS: tuple[Sized, ...] = tuple(
    (shape, of)
    for of in ("float16", "float32")
    for shape in ((16, 32), (32, 32), (24, 20), (7, 33), (2, 16, 8, 8), (2, 3, 9, 9), (1, 20, 6, 7))
)


@dataclass
class Example:
    """A Func with an array for each parameter; those that are `held` are variables."""

    func: Func
    arrays: dict[str, Array]
    held: frozenset[str]


@dataclass
class Store:
    """The parameters of the whole network, with their arrays."""

    builder: Builder
    random: np.random.Generator
    arrays: dict[str, Array] = field(default_factory=dict)
    syms: dict[str, Sym] = field(default_factory=dict)
    weights: list[str] = field(default_factory=list)
    """What can be trained."""

    def param(self, array: Array, prefix: str) -> Sym:
        """Enter a parameter."""
        name = f"{prefix}{len(self.arrays)}"
        self.arrays[name] = array
        self.syms[name] = self.builder.param(TensorType.of(array), name)
        return self.syms[name]

    def normal(self, shape: Sequence[int], scale: float = 1.0) -> Array:
        """Return random numbers, seldom beyond three times their scale."""
        return (self.random.standard_normal(shape) * scale).astype(np.float32)


class Author:
    """Writes random layers into a Builder, over the values that it can see there."""

    def __init__(self, draw: Any, store: Store, builder: Builder, seen: Sequence[Sym], count: Sym) -> None:
        """See what is given; conditions look at the count."""
        self.draw, self.store, self.builder, self.count = draw, store, builder, count
        self.seen = list(seen)

    def inside(self, builder: Builder, seen: Sequence[Sym]) -> Author:
        """Return the author of a part, which sees what this one sees and more."""
        return Author(self.draw, self.store, builder, [*self.seen, *seen], self.count)

    def choice(self, options: Any) -> Any:
        """Return one of some options."""
        return self.draw(st.sampled_from(list(options)))

    def flip(self) -> bool:
        """Return whether to do something."""
        found: bool = self.draw(st.booleans())
        return found

    def pick(self, test: Callable[[TensorType], bool]) -> Sym:
        """Return one of the newest values whose type passes a test, which some does."""
        fitting = [each for each in reversed(self.seen) if test(each.type)][:MOST_OLD]
        return self.builder.lift(self.choice(fitting))

    def any(self) -> Sym:
        """Return one of the newest values."""
        return self.pick(lambda _: True)

    def like(self, x: Sym) -> Sym:
        """Return a value of the type of another, perhaps that one."""
        alike = [each for each in self.seen if each.type == x.type]
        return self.pick(lambda type_: type_ == x.type) if alike else x

    def weight(self, shape: Sequence[int], scale: float, like: Sym) -> Sym:
        """Return a weight in the type of a value: stored in it, in float32 and cast, known, or shared."""
        kind, array = self.choice(("half", "wide", "known", "shared")), self.store.normal(shape, scale)
        typed = array.astype(like.type.dtype.numpy)
        if kind == "known":
            return self.builder.constant(typed)
        shared = [name for name in self.store.weights if self.store.arrays[name].shape == tuple(shape)]
        if kind == "shared" and shared:
            made = self.store.syms[self.choice(shared)]
        else:
            made = self.store.param(array if kind == "wide" else typed, "w")
            self.store.weights.append(made.atom.name)
        return self.builder.lift(made).astype(like.type.dtype)

    def vector(self, array: Array) -> Sym:
        """Return a vector in float32 that is not trained."""
        return self.builder.lift(self.store.param(array.astype(np.float32), "v"))

    def write(self, depth: int) -> None:
        """Write a few statements, with others in them."""
        for _ in range(self.choice(STATEMENTS)):
            kind = self.choice(("layer",) * 3 + ("while", "if")) if depth else "layer"
            if kind == "layer":
                self.layer()
            else:
                {"if": _branch, "while": _loop}[kind](self, depth - 1)

    def layer(self) -> None:
        """Write a layer over one of the newest values, if it takes its shape."""
        x = self.any()
        kinds = MATRIX_LAYERS if x.type.ndim == MATRIX else IMAGE_LAYERS
        made = self.choice((*kinds, *LAYERS))(self, x)
        if made is not None:
            self.seen.append(made)


def _bounded(x: Sym) -> Sym:
    return ops.maximum(ops.minimum(x, 4.0), -4.0)


def _activated(author: Author, x: Sym) -> Sym:
    function = author.choice((None, ops.relu, ops.gelu, ops.tanh))
    return x if function is None else function(x)


def _residual(author: Author, x: Sym) -> Sym:
    return x + author.like(x) if author.flip() else x


def _two(author: Author, x: Sym) -> Sym:
    y = author.like(x)
    kinds = [
        lambda: x + y,
        lambda: x - y * 0.5,
        lambda: _bounded(x * y),
        lambda: ops.maximum(x, y),
        lambda: ops.select(ops.greater(x, y), x, y * 0.5),
    ]
    if x.type.ndim == MATRIX:
        kinds.append(lambda: ops.matmul(x, y, transpose_b=True) * 0.125)
    return author.choice(kinds)()


def _one(author: Author, x: Sym) -> Sym:
    kinds = (
        ops.relu,
        ops.gelu,
        ops.tanh,
        ops.neg,
        lambda x: x * 0.5 + 1.0,
        lambda x: ops.exp(-ops.abs(x)),
        lambda x: x - ops.reduce_max(x, (x.type.ndim - 1,), keepdims=True),
        lambda x: x + ops.reduce_mean(x),
        lambda x: x * author.weight((1,), 0.5, x),
    )
    return author.choice(kinds)(x)


def _recast(author: Author, x: Sym) -> Sym:
    return x.astype(WIDE if x.type.dtype == HALF else HALF)


def _dropped(author: Author, x: Sym) -> Sym:
    key = author.store.param(ops.dropout_key(author.draw(st.integers(0, 9))).numpy(), "key")
    return _residual(author, ops.dropout(x, author.builder.lift(key), 0.75)[0])


def _product(author: Author, x: Sym) -> Sym:
    k, n = x.type.shape[1], author.choice((16, 24, 32, x.type.shape[1]))
    is_turned = author.flip()
    w = author.weight((n, k) if is_turned else (k, n), k**-0.5, x)
    y = ops.matmul(x, w, transpose_b=is_turned)
    if author.flip():
        y = y + author.weight((n,), 0.5, y)
    return author.choice((_residual, _activated))(author, _activated(author, y))


def _batched(author: Author, x: Sym) -> Sym | None:
    m, n = x.type.shape
    if m % 2:
        return None
    y = ops.reshape(x, (2, m // 2, n))
    if author.flip():
        z = ops.matmul(y, y, transpose_b=True) * 0.125
    else:
        z = ops.matmul(y, ops.reshape(author.weight((2 * n, 16), n**-0.5, x), (2, n, 16)))
    z = _activated(author, z + author.weight(z.type.shape[2:], 0.5, z) if author.flip() else z)
    return ops.reshape(z, (m, z.type.shape[2]))


def _normalised(author: Author, x: Sym) -> Sym:
    n, normal = x.type.shape[-1], author.store.normal
    gamma, beta = author.vector(1 + normal((n,), 0.2)), author.vector(normal((n,), 0.2))
    return ops.layer_norm(x, gamma.astype(x.type.dtype), beta.astype(x.type.dtype))[0]


def _soft(author: Author, x: Sym) -> Sym:
    return ops.softmax(x) * 4.0


def _turned(author: Author, x: Sym) -> Sym:
    return ops.transpose(x, (1, 0))


def _reduced(author: Author, x: Sym) -> Sym:
    rule = author.choice((ops.reduce_sum, ops.reduce_max, ops.reduce_mean))
    found = rule(x, (author.choice((0, 1)),), keepdims=True) * 0.125
    return author.choice((x - found, _bounded(x * found), x + ops.exp(-ops.abs(found))))


def _joined(author: Author, x: Sym) -> Sym | None:
    if max(x.type.shape) > LARGE:
        return None
    parts = [_one(author, x), author.like(x), _two(author, x)]
    same = [each for each in parts if each.type == x.type][: author.choice((2, 3))]
    return ops.concat(same if author.flip() else same[::-1], axis=author.choice((0, 1)))


def _part(author: Author, x: Sym) -> Sym | None:
    axis = author.choice((0, 1))
    length = x.type.shape[axis]
    if length < SMALL:
        return None
    part = slice(author.choice((length // 2, 0, 8, 3)), author.choice((length, length - 1)))
    found = x[part] if axis == 0 else x[:, part]
    return found * 0.5 if author.flip() else found


def _shuffled(author: Author, x: Sym) -> Sym | None:
    axis = author.choice((0, 1))
    counts = [count for count in (2, 4) if x.type.shape[axis] % count == 0]
    if not counts:
        return None
    parts = ops.split(x, author.choice(counts), axis)
    return ops.concat([_one(author, part) for part in parts[::-1]], axis=axis)


def _attention(author: Author, x: Sym) -> Sym | None:
    (m, n), edge = x.type.shape, 16
    if m % edge or n % edge:
        return None

    def parted(y: Sym) -> Sym:
        return ops.transpose(ops.reshape(y, (m // edge, edge, n // edge, edge)), (0, 2, 1, 3))

    query, key, value = (parted(_residual(author, x)) for _ in range(3))
    scores = ops.softmax(ops.matmul(query, key, transpose_b=True) * 0.25)
    mixed = ops.transpose(ops.matmul(scores, value), (0, 2, 1, 3))
    return ops.reshape(mixed, (m, n))


def _convolution(author: Author, x: Sym) -> Sym:
    c, o = x.type.shape[1], author.choice((16, 20, x.type.shape[1]))
    size, stride = author.choice((1, 3)), author.choice((1, 1, 2))
    w = author.weight((o, c, size, size), (c * size * size) ** -0.5, x)
    y = ops.conv2d(x, w, stride=stride, pad=size // 2)
    following = author.choice((None, _channel_bias, _batch_norm, _batch_norm_in_use))
    y = y if following is None else following(author, y)
    return author.choice((_residual, _activated))(author, _activated(author, y))


def _channel_bias(author: Author, x: Sym) -> Sym:
    return ops.bias_add(x, author.weight((x.type.shape[1],), 0.5, x), axis=1)


def _statistics(author: Author, x: Sym) -> list[Array]:
    normal, c = author.store.normal, x.type.shape[1]
    return [1 + normal((c,), 0.2), normal((c,), 0.2), normal((c,), 0.2), 1 + np.abs(normal((c,)))]


def _batch_norm(author: Author, x: Sym) -> Sym:
    return ops.batch_norm(x, *map(author.vector, _statistics(author, x)))[0]


def _batch_norm_in_use(author: Author, x: Sym) -> Sym:
    enter = author.vector if author.flip() else author.builder.constant
    return ops.batch_norm_inference(x, *map(enter, _statistics(author, x)))


def _pooled(author: Author, x: Sym) -> Sym | None:
    if min(x.type.shape[2:]) < WINDOW:
        return None
    return ops.max_pool_with_argmax(x, WINDOW, stride=2, pad=1)[0]


def _flattened(author: Author, x: Sym) -> Sym:
    n, c, h, w = x.type.shape
    if author.flip() and c * h * w < SMALL * LARGE:
        return ops.reshape(x, (n, c * h * w))
    return ops.reshape(ops.global_avg_pool(x), (n, c))


def _channels(author: Author, x: Sym) -> Sym | None:
    if x.type.shape[1] > LARGE // 2:
        return None
    joined = ops.concat([x, _one(author, author.like(x))], axis=1)
    return author.choice((lambda: joined, lambda: joined[:, 2:], lambda: joined[:1]))()


LAYERS = (_two, _one, _recast, _dropped)
MATRIX_LAYERS = (
    *(_product,) * 4, *(_attention,) * 3, _batched, _normalised, _soft, _turned, _reduced, _joined, _part,
    _shuffled,
)  # fmt: skip
IMAGE_LAYERS = (*(_convolution,) * 4, _pooled, _flattened, _channels)


def _condition(author: Author) -> Sym:
    """Return a truth that no rounding decides."""
    if author.flip():
        return ops.greater(author.builder.lift(author.count), author.draw(st.integers(0, 2)))
    return ops.greater(ops.reduce_max(author.any().astype(WIDE)), author.choice((-1e4, 1e4)))


def _of_types(author: Author, types: Sequence[TensorType]) -> list[Sym]:
    """Return values of these types, which an author has seen."""
    return [author.pick(lambda type_, wanted=each: type_ == wanted) for each in types]


def _branch(author: Author, depth: int) -> None:
    condition = _condition(author)
    types = [author.any().type for _ in range(author.choice((1, 2)))]
    parts = []
    for name in ("then", "orelse"):
        inner = author.inside(Builder(author.builder), ())
        if author.flip():
            inner.write(depth)
        parts.append(Part(inner.builder, _of_types(inner, types), name))
    author.seen += branch(author.builder, condition, *parts)


def _loop(author: Author, depth: int) -> None:
    """Write a loop of at most two turns over one or two values."""
    first = [author.any() for _ in range(author.choice((1, 2)))]
    types = [each.type for each in first]
    tested, body = Builder(author.builder), Builder(author.builder)
    turn, *_ = (tested.param(each) for each in (COUNT, *types))
    most = ops.minimum(tested.lift(author.count), 2)
    count, *state = (body.param(each) for each in (COUNT, *types))
    inner = author.inside(body, state)
    inner.write(depth)
    new = [_bounded(each) for each in _of_types(inner, types)]
    parts = Part(tested, [ops.less(turn, most)], "cond"), Part(body, [count + 1, *new], "body")
    author.seen += loop(author.builder, [author.builder.constant(np.asarray(0)), *first], *parts)[1:]


def _loss(author: Author) -> Sym:
    """Return a number to which some of the newest values contribute."""
    squares = [ops.reduce_mean(ops.square(author.any().astype(WIDE))) for _ in range(2)]
    return squares[0] + squares[1]


@st.composite
def networks(draw: st.DrawFn, depth: int = 2) -> Example:
    """Return a random network, in use or with a step of its training."""
    store = Store(Builder(), np.random.Generator(np.random.Philox(draw(st.integers(0, 1 << 16)))))
    shape, of = draw(st.sampled_from(INPUTS))
    x = store.param(store.normal(shape).astype(of), "x")
    count = store.param(np.asarray(draw(st.sampled_from((2, 0, 1, 3)))), "n")
    author = Author(draw, store, store.builder, [x], count)
    author.write(depth)
    author.write(depth)
    results = [_loss(author), *(author.any() for _ in range(draw(st.integers(0, 2))))]
    trained = [name for name in store.weights if draw(st.booleans())]
    renewed = {} if trained else _exchanged(draw, store)
    updates = {len(results) + at: name for at, name in enumerate(renewed)}
    func = run(store.builder.finish("random", [*results, *renewed.values()], updates), FLAT)
    held = frozenset(name for name in store.arrays if name[0] in "wv" and draw(st.booleans()))
    if not trained:
        return Example(func, store.arrays, held)
    made, state = _training(draw, store, func, trained)
    return Example(run(made, FLAT), store.arrays | state, held)


def _exchanged(draw: st.DrawFn, store: Store) -> dict[str, Sym]:
    """Return new values of some parameters: what others of their type were, or something made of it."""
    found: dict[str, Sym] = {}
    for name in (name for name in store.arrays if name[0] in "wv" and draw(st.booleans())):
        alike = [each for each in store.syms.values() if each.type == store.syms[name].type]
        other = draw(st.sampled_from(alike))
        found[name] = other * 0.5 + 0.25 if draw(st.booleans()) else other
    return found


def _training(
    draw: st.DrawFn, store: Store, func: Func, names: Sequence[str]
) -> tuple[Func, dict[str, Array]]:
    """Return the Func of a step that trains some weights, and the arrays that it has besides."""
    places = [place for place, param in enumerate(func.params) if param.name in names]
    gradients = differentiate(func, places, keep_results=True)
    step = Store(Builder(), store.random)
    given = [step.builder.param(param.type, param.name) for param in gradients.params]
    scope = step.builder.replay(gradients, given)
    found = [restored(scope, step.builder, atom) for atom in gradients.results]
    shown, slopes = found[: -len(places)], found[-len(places) :]
    rate = step.param(np.float32(0.5), "rate")
    plan: list[Renewal] = []
    for place, slope in zip(places, slopes, strict=True):
        rule, lows = draw(st.sampled_from(OPTIMIZERS))
        moments = [_moment(step, given[place], low) for low in lows]
        scaled = slope * draw(st.sampled_from((1.0, 2.0**-3)))
        plan.append((rule, [given[place], *moments], [scaled, rate]))
    old = [each for _, many, _ in plan for each in many]
    if draw(st.booleans()):
        inside, other = Builder(step.builder), Builder(step.builder)
        parts = (
            Part(inside, _new(inside, plan), "then"),
            Part(other, [other.lift(each) for each in old], "orelse"),
        )
        limit = draw(st.sampled_from((1e4, -1e4)))
        new = branch(step.builder, ops.less(ops.reduce_max(slopes[0].astype(WIDE)), limit), *parts)
    else:
        new = tuple(_new(step.builder, plan))
    updates = {len(shown) + at: each.atom.name for at, each in enumerate(old)}
    return step.builder.finish("step", [*shown, *new], updates), step.arrays


Renewal = tuple[Callable[..., Sequence[Sym]], list[Sym], list[Sym]]
"""A rule with what it renews, and what else it takes."""


def _new(builder: Builder, plan: Sequence[Renewal]) -> list[Sym]:
    """Return what the rules of a plan give, computed in a Builder."""
    return [
        each for rule, *given in plan for each in rule(*(builder.lift(x) for many in given for x in many))
    ]


def _moment(store: Store, weight: Sym, low: float) -> Sym:
    array = low + np.abs(store.normal(weight.type.shape, 0.1))
    return store.param(array.astype(weight.type.dtype.numpy), "moment")


def _sgd(weight: Sym, slope: Sym, rate: Sym) -> Sequence[Sym]:
    return [ops.apply_sgd(weight, slope, rate)]


def _momentum(weight: Sym, moment: Sym, slope: Sym, rate: Sym) -> Sequence[Sym]:
    found: Sequence[Sym] = ops.apply_momentum(weight, moment, slope, rate, 0.9)
    return found


def _adam(weight: Sym, first: Sym, second: Sym, slope: Sym, rate: Sym) -> Sequence[Sym]:
    powers = (np.float32(each) for each in (0.9, 0.999))
    found: Sequence[Sym] = ops.apply_adam(weight, first, second, slope, *powers, rate)
    return found


OPTIMIZERS = ((_sgd, ()), (_momentum, (0.0,)), (_adam, (0.0, 0.5)))
"""Rules, with the least numbers of the moments that they keep."""
