"""Random Funcs with all that the IR has: a strategy that the tests of passes, gradients and runs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from framework import ops
from framework.dtypes import bool_, float32, float64, int64
from framework.ir import Builder, Func, TensorType
from framework.ir.builder import Sym
from framework.ir.control import ACCUMULATE, APPLY, ENV, NOTHING, UNENV, signature
from framework.ir.flow import Part, branch, closure, loop, scan
from framework.ir.nodes import CALL, Rec
from framework.ir.types import FnType, StackType, Type

SCALAR, TENSOR = TensorType((), float64), TensorType((2, 3), float32)
COUNT, TRUTH = TensorType((), int64), TensorType((), bool_)
PLAIN: tuple[Type, ...] = (SCALAR, TENSOR, COUNT)
FUNCTION = FnType((SCALAR, TENSOR), (SCALAR, TENSOR))

BINARY = (ops.add, ops.sub, ops.mul, ops.maximum, ops.minimum)
COMPARE = (ops.less, ops.greater_equal, ops.equal)


def arguments(seed: int = 1) -> list[np.ndarray]:
    """Return arguments for a Func of `funcs`: x float64[], t float32[2, 3], n int64[] from 0 to 4."""
    generator = np.random.default_rng(seed)
    return [
        np.asarray(generator.uniform(-2, 2)),
        generator.uniform(-2, 2, (2, 3)).astype(np.float32),
        np.asarray(generator.integers(0, 5)),
    ]


def funcs(depth: int = 2, kinds: tuple[str, ...] = (), scalars: bool = False) -> st.SearchStrategy[Func]:
    """Random Funcs of (x float64[], t float32[2, 3], n int64[]) -> the same types, t left out with `scalars`.

    Branches, loops, scans over what loops saved, calls and recursion, functions as values and their
    cotangents, nested to a depth; `kinds` limits which of `KINDS` there are. With `scalars` all is 0-d.
    """
    plain = (SCALAR, COUNT) if scalars else PLAIN
    return _funcs(depth, kinds or tuple(KINDS), plain)


@st.composite
def _funcs(draw: Any, depth: int, kinds: tuple[str, ...], plain: tuple[Type, ...]) -> Func:
    author = Author(draw, kinds, Builder(), plain)
    params = [author.builder.param(type_, name) for type_, name in zip(PLAIN, ("x", "t", "n"), strict=True)]
    author.add(*(each for each in params if each.atom.type in plain))
    author.write(depth)
    return author.builder.finish("random", [author.pick(each) for each in plain])


class Author:
    """Writes random bindings into a Builder, over the values that it can see there."""

    def __init__(self, draw: Any, kinds: tuple[str, ...], builder: Builder, plain: tuple[Type, ...]) -> None:
        """See nothing yet; `plain` are the types that operators work on."""
        self.draw, self.kinds, self.builder, self.plain = draw, kinds, builder, plain
        self.seen: list[Sym] = []

    def inside(self) -> Author:
        """Return the author of a part: it sees what this one sees."""
        inner = Author(self.draw, self.kinds, Builder(self.builder), self.plain)
        inner.add(*self.seen)
        return inner

    def apart(self) -> Author:
        """Return the author of a Func of its own."""
        return Author(self.draw, self.kinds, Builder(), self.plain)

    def add(self, *values: Sym) -> None:
        """Let further values be used."""
        self.seen += values

    def number(self, least: int, most: int) -> int:
        """Return a random number."""
        return self.draw(st.integers(least, most))

    def choice(self, options: Any) -> Any:
        """Return one of the options."""
        return self.draw(st.sampled_from(list(options)))

    def pick(self, type_: Type) -> Sym:
        """Return one of the newest values of the type, as the Func at hand sees it."""
        newest = [each for each in reversed(self.seen) if each.atom.type == type_][:4]
        return self.builder.lift(self.choice(newest))

    def has(self, test: Callable[[Type], bool]) -> list[Type]:
        """Return the types of values that pass a test, each once."""
        return list(dict.fromkeys(each.atom.type for each in self.seen if test(each.atom.type)))

    def constant(self, value: float | int) -> Sym:
        """Return a float64 or int64 scalar."""
        return self.builder.constant(np.asarray(value))

    def write(self, depth: int) -> None:
        """Write a few statements, with others in them."""
        for _ in range(self.number(1, 4)):
            kind = self.choice(self.kinds) if depth else "op"
            KINDS[kind](self, depth - 1)

    def part(self, name: str, params: tuple[Type, ...], results: tuple[Type, ...], depth: int) -> Part:
        """Return a part that takes and gives values of these types."""
        inner = self.inside()
        inner.add(*(inner.builder.param(each) for each in params))
        inner.write(depth)
        return Part(inner.builder, [inner.pick(each) for each in results], name)

    def some(self, types: list[Type], most: int) -> tuple[Type, ...]:
        """Return a few of the types, perhaps the same ones again."""
        return tuple(self.choice(types) for _ in range(self.number(0, most)))


def _is_data(type_: Type) -> bool:
    """Tell whether a loop may save values of a type: all but truths and functions."""
    return type_ != TRUTH and not isinstance(type_, FnType)


def _op(author: Author, _: int) -> None:
    type_ = author.choice(author.plain)
    a, b = author.pick(type_), author.pick(type_)
    makers: list[Callable[[], Any]] = [
        lambda: author.choice(BINARY)(a, b),
        lambda: ops.select(author.choice(COMPARE)(author.pick(SCALAR), author.pick(SCALAR)), a, b),
        lambda: -ops.abs(a),
        lambda: author.pick(SCALAR).astype(type_.dtype) * a,
        lambda: ops.reduce_sum(a).astype(float64) if type_ == TENSOR else ops.relu(a),
    ]
    if TENSOR in author.plain:
        makers += [lambda: _element(author), lambda: _changed(author)]
    author.add(author.choice(makers)())


def _place(author: Author) -> Sym:
    """Return a number that is 0 or 1."""
    return ops.mod(author.pick(COUNT), 2)


def _element(author: Author) -> Sym:
    """Return an element of a tensor as a scalar."""
    spec = (("at", 0), ("at", 1))
    return ops.index(author.pick(TENSOR), _place(author), _place(author), spec=spec).astype(float64)


def _changed(author: Author) -> Sym:
    """Return a tensor with a part changed, or with one added that is a tensor of zeros elsewhere."""
    x, value = author.pick(TENSOR), author.pick(SCALAR).astype(float32)
    spec = author.choice([(("at", 0), ("at", 1)), (("at", 0), author.number(0, 2))])
    places = [_place(author) for item in spec if isinstance(item, tuple)]
    if author.draw(st.booleans()):
        return author.choice((ops.index_add, ops.index_update))(x, value, *places, spec=spec)
    zeros = author.builder.constant(np.zeros((2, 3), np.float32))
    return x + ops.index_add(zeros, value, *places, spec=spec)


def _branch(author: Author, depth: int) -> None:
    condition = author.choice(COMPARE)(author.pick(SCALAR), author.constant(author.choice([-1.0, 0.0, 0.5])))
    types = (author.choice(author.plain), *author.some(author.has(lambda each: each != TRUTH), 2))
    then, orelse = (author.part(name, (), types, depth) for name in ("then", "orelse"))
    author.add(*branch(author.builder, condition, then, orelse))


def _loop(author: Author, depth: int, saves: int = 0) -> None:
    """Write a loop of at most three turns that saves so many values at least."""
    types = (COUNT, *author.some(list(author.plain), 2))
    init = [author.constant(0), *(author.pick(each) for each in types[1:])]
    most = author.choice([author.constant(author.number(0, 3)), author.pick(COUNT)])
    tested = author.inside()
    counts = [tested.builder.param(each) for each in types]
    ends = ops.minimum(tested.builder.lift(most), 3)
    cond = Part(tested.builder, [ops.less(counts[0], ends)], "cond")
    inner = author.inside()
    state = [inner.builder.param(each) for each in types]
    inner.add(*state)
    inner.write(depth)
    saved = inner.some(inner.has(_is_data), 2) + (SCALAR,) * saves
    results = [state[0] + 1, *(inner.pick(each) for each in (*types[1:], *saved))]
    author.add(*loop(author.builder, init, cond, Part(inner.builder, results, "body"), len(saved)))


def _scan(author: Author, depth: int) -> None:
    if not author.has(lambda each: isinstance(each, StackType)):
        _loop(author, depth, saves=1)
    stacks = author.has(lambda each: isinstance(each, StackType))
    given = [author.pick(author.choice(stacks))]
    if author.draw(st.booleans()):  # empty beside another: zeros
        given.append(author.builder.bind(NOTHING, [], {"type": str(given[0].atom.type)})[0])
    types = (author.choice(author.plain), *author.some(list(author.plain), 1))
    inner = author.inside()
    for each in given:
        inner.add(inner.builder.param(each.atom.type.element))
    inner.add(*(inner.builder.param(each) for each in types))
    inner.write(depth)
    saves = author.some(inner.has(_is_data), 2)
    body = Part(inner.builder, [inner.pick(each) for each in (*types, *saves)], "body")
    init = [author.pick(each) for each in types]
    reverse = author.draw(st.booleans())
    author.add(*scan(author.builder, given, init, body, len(saves), reverse))


def _function(author: Author, depth: int) -> None:
    author.add(closure(author.builder, author.part("lambda", FUNCTION.params, FUNCTION.results, depth)))
    function = author.pick(FUNCTION)
    author.add(*author.builder.bind(APPLY, [function, author.pick(SCALAR), author.pick(TENSOR)], {}))


def _env(author: Author, _: int) -> None:
    types = (SCALAR, TENSOR)
    envs = [author.builder.bind(ENV, [author.pick(each) for each in types], {})[0] for _ in range(2)]
    envs.append(author.builder.bind(NOTHING, [], {"type": "env"})[0])
    total = author.builder.bind(ACCUMULATE, [author.choice(envs), author.choice(envs)], {})
    author.add(*author.builder.bind(UNENV, total, {"types": tuple(map(str, types))}))


def _recursion(author: Author, depth: int) -> None:
    """Write `f(k, a, t)`, which calls itself with k - 1 while k > 0, and a call of it."""
    types = (COUNT, SCALAR, TENSOR)
    name = f"recursive{author.builder._name()}"
    known = {name: (types, types)}
    inner = author.apart()
    params = [inner.builder.param(each) for each in types]
    inner.add(*params)
    then = inner.inside()
    then.write(depth)
    called = [then.builder.lift(params[0]) - 1, then.pick(SCALAR), then.pick(TENSOR)]
    then.add(*then.builder.bind(CALL, called, {"func": Rec(name)}, known))
    then.write(0)
    then_part = Part(then.builder, [then.pick(each) for each in types], "then")
    orelse = inner.part("orelse", (), types, depth)
    results = branch(inner.builder, ops.greater(params[0], 0), then_part, orelse, known)
    func = inner.builder.finish(name, results)
    assert signature(func) == known[name]
    count = ops.minimum(author.pick(COUNT), 3)
    author.add(*author.builder.call(func, [count, author.pick(SCALAR), author.pick(TENSOR)]))


def _shared(author: Author, depth: int) -> None:
    """Write two calls of one Func."""
    inner = author.apart()
    inner.add(*(inner.builder.param(each) for each in author.plain))
    inner.write(depth)
    func = inner.builder.finish("shared", [inner.pick(each) for each in author.plain])
    for _ in range(2):
        author.add(*author.builder.call(func, [author.pick(each) for each in author.plain]))


KINDS: dict[str, Callable[[Author, int], None]] = {
    "op": _op,
    "if": _branch,
    "while": _loop,
    "scan": _scan,
    "function": _function,
    "env": _env,
    "recursion": _recursion,
    "call": _shared,
}
"""What a statement can be; see `funcs`."""
