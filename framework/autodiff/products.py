"""`vjp` and `jvp`: a function's value together with its derivative as a linear map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from framework.autodiff.forward import push
from framework.autodiff.linear import Context, Pair, materialized
from framework.frontend.trace import Traced, find_builder, name_of, trace
from framework.frontend.transform import Transform
from framework.host import HostFunction, compile_host
from framework.ir.builder import Builder, Sym
from framework.ir.types import TensorType
from framework.ops.op import GradientError
from framework.passes import run as run_passes
from framework.tensor import Tensor
from framework.tree import Leaf, flatten, places, unflatten


def jvp(function: Any, inputs: Any, v: Any) -> Any:
    """Return (value, derivative in the direction v) of a function at inputs: forward mode.

    `inputs` and `v` are a tensor, or a tuple with one tensor (or structure of tensors) per argument.

    >>> from framework import Tensor
    >>> jvp(lambda x: x * x, Tensor(3.0), Tensor(1.0))
    (Tensor(9., float32), Tensor(6., float32))
    """
    pair = [each if isinstance(each, tuple) else (each,) for each in (inputs, v)]
    return _tangents(function)(*pair)


@lru_cache(maxsize=256)
def _tangents(function: Any) -> Tangents:
    return Tangents(function)


class Tangents(Transform):
    """Value and tangent of a function, from arguments and their tangents."""

    def trace(self, outer: Builder | None, args: Sequence[Any], kwargs: dict[str, Any]) -> Traced:
        """Return the Func from (arguments, tangents) to (value, tangent)."""
        inputs, directions = args
        leaves, moving = (flatten(each, numbers=outer is None)[0] for each in (inputs, directions))
        traced = trace(self.function, inputs, kwargs, outer=outer).without_renewals("jvp")
        self._check(leaves, moving)
        active = [
            at < len(leaves) and traced.func.params[at].tensor.dtype.is_float
            for at in range(len(traced.func.params))
        ]
        pushed = push(traced.func, active)
        builder = Builder()
        own = [builder.param(param.type, param.name) for param in traced.func.params]
        tangents = [builder.param(_type_of(each)) for each in moving]
        outputs = builder.call(pushed.func, [*own, *(tangents[at] for at in pushed.params)])
        count = len(traced.func.results)
        found = dict(zip(pushed.results, outputs[count:], strict=True))
        slopes = [
            materialized(builder, found.get(at), atom.type) for at, atom in enumerate(traced.func.results)
        ]
        shifted = unflatten(traced.structure, [Leaf(count + at) for at in range(count)])
        order = [*own[: len(leaves)], *tangents, *own[len(leaves) :]]
        func = builder.finish(f"jvp_{traced.func.name}", [*outputs[:count], *slopes])
        params = tuple(sym.atom for sym in order)
        func = type(func)(func.name, params, func.bindings, func.results)  # type: ignore[arg-type]
        given = [*leaves, *moving, *traced.leaves[len(leaves) :]]
        return Traced(func, given, (traced.structure, shifted), traced.builder, list(traced.weak) * 2)

    def _check(self, leaves: Sequence[Any], moving: Sequence[Any]) -> None:
        """Refuse tangents that do not belong to the arguments."""
        types, found = ([str(_type_of(each)) for each in part] for part in (leaves, moving))
        if types != found:
            raise GradientError(
                f"jvp of {name_of(self.function)}: the arguments are ({', '.join(types)}), "
                f"v is ({', '.join(found)})"
            )


def vjp(function: Any, *inputs: Any, has_aux: bool = False) -> Any:
    """Return (value, pull) of a function at inputs: `pull(dy)` gives a cotangent per argument.

    With `has_aux` only the first value is differentiated, and the result is (value, pull, others).

    >>> from framework import Tensor
    >>> value, pull = vjp(lambda x, y: x * y, Tensor(3.0), Tensor(2.0))
    >>> pull(Tensor(1.0))
    (Tensor(2., float32), Tensor(3., float32))
    """
    builder = find_builder(inputs)
    ahead = _Ahead(function, inputs, builder, has_aux)
    value = ahead.run_now() if builder is None else ahead.write(builder)
    return (value[0], ahead.pull, *value[1:]) if has_aux else (value, ahead.pull)


class _Ahead:
    """A function with what goes ahead and what goes back, at inputs."""

    def __init__(self, function: Any, inputs: Sequence[Any], outer: Builder | None, has_aux: bool) -> None:
        self.leaves, structure = flatten((tuple(inputs), {}), numbers=outer is None)
        self.traced = trace(function, inputs, {}, outer=outer).without_renewals("vjp")
        func = self.traced.func
        count = len(self.leaves)
        active = [at < count and param.tensor.dtype.is_float for at, param in enumerate(func.params)]
        self.pair = Context().pair(func, active)
        value = self.traced.structure[0] if has_aux else self.traced.structure
        self.pull = Pull(name_of(function), self.pair, structure[0], value)

    def run_now(self) -> Any:
        """Run the way ahead on the host; return its results."""
        given = [*self.traced.leaves, *self.traced.builder.parameters.values()]
        arrays = [np.asarray(each.numpy() if isinstance(each, Tensor) else each) for each in given]
        outputs = compile_host(run_passes(self.pair.forward))(arrays)
        results, self.pull.residuals = self.pair.split(arrays, outputs)
        return unflatten(self.traced.structure, [Tensor.wrap(np.asarray(each)) for each in results])

    def write(self, builder: Builder) -> Any:
        """Write the way ahead into compiled code; return the symbols of its results."""
        given = [*self.traced.leaves, *self.traced.builder.parameters.values()]
        inputs = [builder.value(each) for each in given]
        outputs = builder.call(self.pair.forward, inputs)
        results, self.pull.residuals = self.pair.split(inputs, outputs)
        return unflatten(self.traced.structure, results)


class Pull:
    """From cotangents of a function's results to those of its arguments, where `vjp` was asked for them."""

    def __init__(self, name: str, pair: Pair, arguments: Any, value: Any) -> None:
        """Hold the way back, and the structures of the arguments and of what is differentiated."""
        self.name, self.pair, self.arguments, self.value = name, pair, arguments, value
        self.residuals: Sequence[Any] = ()

    def __call__(self, dy: Any) -> Any:
        """Return a cotangent per argument; integers have None."""
        given = self._given(dy)
        builder = find_builder((dy, self.residuals))
        if builder is not None:
            found = self.pair.pull(builder, self._placed(self._symbols(builder, given)), self.residuals)
            return self._arranged(found)
        arrays = [each.numpy() if isinstance(each, Tensor) else np.asarray(each) for each in given]
        wanted = [self.pair.backward.params[at].type for at in range(len(self.pair.results))]
        placed = self._placed(arrays)
        dys = [
            np.zeros(kind.shape, kind.dtype.numpy)
            if placed[at] is None
            else np.asarray(placed[at], kind.dtype.numpy)
            for at, kind in zip(self.pair.results, wanted, strict=True)
            if isinstance(kind, TensorType)
        ]
        outputs = self._backward([*dys, *self.residuals])
        by_param = dict(zip(self.pair.params, outputs, strict=True))
        return self._arranged(
            [
                Tensor.wrap(np.asarray(by_param[at])) if at in by_param else None
                for at in range(len(self.pair.forward.params))
            ]
        )

    def _symbols(self, builder: Builder, given: Sequence[Any]) -> list[Sym]:
        types = [self.pair.forward.results[at].tensor for at in places(self.value)]
        return [builder.value(each, kind.dtype) for each, kind in zip(given, types, strict=True)]

    @cached_property
    def _backward(self) -> HostFunction:
        return compile_host(run_passes(self.pair.backward))

    def _given(self, dy: Any) -> list[Any]:
        """Return the cotangents of the results in order; they must have the results' structure and types."""
        leaves = flatten(dy, numbers=True)[0]
        types = [self.pair.forward.results[at].type for at in places(self.value)]
        found = [
            kind if isinstance(each, float) else _type_of(each)
            for each, kind in zip(leaves, types, strict=False)
        ]
        if found != types or len(leaves) != len(types):
            shown = (", ".join(map(str, each)) for each in (types, map(_shown, leaves)))
            raise GradientError("pull of {}: it takes cotangents ({}), found ({})".format(self.name, *shown))
        return leaves

    def _placed(self, given: Sequence[Any]) -> list[Any]:
        """Return a cotangent, or None, per result."""
        by_result = dict(zip(places(self.value), given, strict=True))
        return [by_result.get(at) for at in range(self.pair.kept)]

    def _arranged(self, found: Sequence[Any]) -> Any:
        """Return cotangents in the structure of the arguments."""
        return tuple(unflatten(each, found) for each in self.arguments)


def _shown(value: Any) -> str:
    return type(value).__name__ if isinstance(value, (int, float)) else str(_type_of(value))


def _type_of(leaf: Any) -> TensorType:
    return leaf.type if isinstance(leaf, (Tensor, Sym)) else TensorType.of(np.asarray(leaf))
