"""Functions of functions beside `grad`: `vjp`, `jvp`, `jacrev`, `jacfwd`, `hessian` and `vmap`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from framework import ops
from framework.autodiff.batching import Batch, Batched, batch
from framework.autodiff.forward import push
from framework.autodiff.grad import Position, as_tuple, check_positions
from framework.autodiff.linear import Context, Pair, materialized
from framework.dtypes import bool_
from framework.frontend.trace import Traced, name_of, trace
from framework.frontend.transform import Transform
from framework.ir.builder import Builder, Sym
from framework.ir.nodes import Func
from framework.ir.types import TensorType
from framework.ops.op import GradientError
from framework.tensor import Tensor
from framework.tree import Leaf, flatten, places, unflatten


def vmap(function: Any, in_axes: Any = 0, out_axes: int = 0) -> Vmap:
    """Return a function over a batch: what `function` computes for one place, for all of an axis at once.

    `in_axes` is the axis of each argument that holds the batch: an int for all tensors of all arguments, or a
    tuple with an int or None (the same for the whole batch) per argument. Results have it at `out_axes`.
    Conditions, loops and recursion may go another way at each place.

    >>> from framework import Tensor
    >>> vmap(lambda row, x: row @ x, (0, None))(Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([1.0, 1.0]))
    Tensor([3., 7.], float32)
    """
    return Vmap(function, in_axes, out_axes)


class Vmap(Transform):
    """A function over a batch."""

    def __init__(self, function: Any, in_axes: Any, out_axes: int) -> None:
        """Hold the function and where the batch is."""
        super().__init__(function)
        self.in_axes, self.out_axes = in_axes, out_axes

    def trace(self, outer: Builder | None, args: Sequence[Any], kwargs: dict[str, Any]) -> Traced:
        """Return the Func over the batch."""
        axes, size = self._axes(args, kwargs, outer is None)
        leaves, structure = flatten((tuple(args), dict(kwargs)), numbers=outer is None)
        single = [
            each if axis is None else _place_of(each, axis) for each, axis in zip(leaves, axes, strict=True)
        ]
        inner_args, inner_kwargs = unflatten(structure, single)
        traced = trace(self.function, inner_args, inner_kwargs, outer=outer).without_renewals("vmap")
        count = len(traced.func.params)
        axes = [*axes, *[None] * (count - len(axes))]
        batched = batch(traced.func, [axis is not None for axis in axes], Batch(size))
        func = self._wrapped(traced, leaves, axes, batched)
        return Traced(func, [*leaves, *traced.leaves[len(leaves) :]], traced.structure, traced.builder)

    def _wrapped(
        self, traced: Traced, leaves: Sequence[Any], axes: Sequence[int | None], batched: Batched
    ) -> Func:
        """Return the Func that brings the batch to the front, and its results where they are wanted."""
        builder, given = Builder(), []
        for at, (param, axis) in enumerate(zip(traced.func.params, axes, strict=True)):
            outer = builder.param(param.type if axis is None else _type_of(leaves[at]), param.name)
            given.append(outer if axis is None else moved(outer, axis, 0))
        size = batched.func.params[-1].tensor.size
        lanes = builder.constant(np.ones(size, bool_.numpy))
        results = builder.call(batched.func, [*given, lanes])
        whole = [
            each if is_batched else ops.broadcast_to(each, (size, *each.shape))
            for each, is_batched in zip(results, batched.is_batched, strict=True)
        ]
        return builder.finish(f"vmap_{traced.func.name}", [moved(each, 0, self.out_axes) for each in whole])

    def _axes(
        self, args: Sequence[Any], kwargs: dict[str, Any], numbers: bool
    ) -> tuple[list[int | None], int]:
        """Return the axis of every leaf, and the size of the batch."""
        wanted = self.in_axes if isinstance(self.in_axes, tuple) else (self.in_axes,) * len(args)
        if len(wanted) != len(args):
            raise GradientError(
                f"vmap of {name_of(self.function)}: in_axes has {len(wanted)} axes, "
                f"the call {len(args)} arguments"
            )
        axes: list[int | None] = []
        sizes: dict[str, int] = {}
        for at, (arg, axis) in enumerate(zip(args, wanted, strict=True)):
            for leaf in flatten(arg, numbers=numbers)[0]:
                axes.append(axis)
                if axis is not None:
                    shape = _type_of(leaf).shape
                    if not -len(shape) <= axis < len(shape):
                        raise GradientError(
                            f"vmap of {name_of(self.function)}: argument {at} is {_type_of(leaf)}, "
                            f"it has no axis {axis}\n"
                            "  next: say None in in_axes for what is the same for the whole batch"
                        )
                    sizes[f"argument {at}"] = shape[axis]
        axes += [None] * len(flatten(kwargs, numbers=numbers)[0])
        if len(set(sizes.values())) != 1:
            shown = ", ".join(f"{name}: {size}" for name, size in sizes.items()) or "none"
            raise GradientError(f"vmap of {name_of(self.function)}: the batch needs one size, found {shown}")
        return axes, next(iter(sizes.values()))


def moved(value: Any, source: int, target: int) -> Any:
    """Return a tensor with one axis moved."""
    order = list(range(value.ndim))
    order.insert(target % value.ndim, order.pop(source % value.ndim))
    return value if order == list(range(value.ndim)) else ops.transpose(value, tuple(order))


def _type_of(leaf: Any) -> TensorType:
    return leaf.type if isinstance(leaf, (Tensor, Sym)) else TensorType.of(np.asarray(leaf))


def _place_of(leaf: Any, axis: int) -> Sym:
    """Return a stand-in for one place of a leaf: it has a type and no value."""
    kind = _type_of(leaf)
    axis %= kind.ndim
    return Builder().param(kind.with_shape((*kind.shape[:axis], *kind.shape[axis + 1 :])))


class Jacobian(Transform):
    """The derivative of every element of the result by every element of arguments."""

    def __init__(self, function: Any, position: Position, is_forward: bool, has_aux: bool) -> None:
        """Hold the function, the arguments, the mode, and whether only the first result is differentiated."""
        super().__init__(function)
        self.position, self.is_forward, self.has_aux = position, is_forward, has_aux

    def trace(self, outer: Builder | None, args: Sequence[Any], kwargs: dict[str, Any]) -> Traced:
        """Return the Func of the derivatives."""
        check_positions(self.function, as_tuple(self.position), args)
        traced = trace(self.function, args, kwargs, outer=outer).without_renewals("jacobian")
        placed = flatten((tuple(args), dict(kwargs)), numbers=outer is None)[1][0]
        chosen = [placed[at] for at in as_tuple(self.position)]
        wrt = [index for each in chosen for index in places(each)]
        value = traced.structure[0] if self.has_aux else traced.structure
        targets = list(places(value))
        builder = Builder()
        inputs = [builder.param(param.type, param.name) for param in traced.func.params]
        write = _columns if self.is_forward else _rows
        results, blocks = write(builder, traced.func, inputs, wrt, targets)
        order = {(target, index): at for at, (target, index) in enumerate(blocks)}
        structure = _for_each(value, lambda target: self._arranged(chosen, order, target))
        found = list(blocks.values())
        if self.has_aux:
            rest = traced.structure[1:]
            structure = (structure, _for_each(rest, lambda index: Leaf(len(found) + index)))
            found += results
        return Traced(
            builder.finish(f"jacobian_{traced.func.name}", found), traced.leaves, structure, traced.builder
        )

    def _arranged(self, chosen: Sequence[Any], order: dict[tuple[int, int], int], target: int) -> Any:
        """Return the structure of the derivatives of one result."""
        found = tuple(_for_each(each, lambda index: Leaf(order[target, index])) for each in chosen)
        return found[0] if isinstance(self.position, int) else found


def _for_each(structure: Any, change: Any) -> Any:
    """Return a structure with each Leaf replaced by what `change(its index)` gives."""
    leaves = {index: change(index) for index in places(structure)}
    return unflatten(structure, leaves)  # type: ignore[arg-type]


Blocks = dict[tuple[int, int], Sym]


def _rows(
    builder: Builder, func: Func, inputs: Sequence[Sym], wrt: Sequence[int], targets: Sequence[int]
) -> tuple[list[Sym], Blocks]:
    """Write the derivatives in reverse mode: a batch of cotangents, a place per element of a result."""
    pair = Context().pair(func, [at in wrt for at in range(len(inputs))])
    results, residuals = pair.split(inputs, builder.call(pair.forward, inputs))
    blocks: Blocks = {}
    for target in targets:
        kind = func.results[target].tensor
        _check_float(func, f"result {target}", kind)
        found = _over_basis(builder, pair, residuals, target, kind) if target in pair.results else {}
        for index in wrt:
            wanted = func.params[index].tensor
            _check_float(func, f"%{func.params[index].name}", wanted)
            dx = materialized(builder, found.get(index), wanted.with_shape((kind.size, *wanted.shape)))
            blocks[target, index] = ops.reshape(dx, (*kind.shape, *wanted.shape))
    return results, blocks


def _over_basis(
    builder: Builder, pair: Pair, residuals: Sequence[Sym], target: int, kind: TensorType
) -> dict[int, Sym]:
    """Write the way back for each element of a result at once; return what each parameter gets."""
    size = kind.size
    batched = batch(
        pair.backward,
        [at == pair.results.index(target) for at in range(len(pair.backward.params))],
        Batch(size),
    )
    basis = builder.constant(np.eye(size, dtype=kind.dtype.numpy).reshape(size, *kind.shape))
    zeros = [materialized(builder, None, param.type) for param in pair.backward.params[: len(pair.results)]]
    dys = [basis if at == target else zero for at, zero in zip(pair.results, zeros, strict=True)]
    lanes = builder.constant(np.ones(size, bool_.numpy))
    outputs = builder.call(batched.func, [*dys, *residuals, lanes])
    return {
        at: each if is_batched else ops.broadcast_to(each, (size, *each.shape))
        for at, each, is_batched in zip(pair.params, outputs, batched.is_batched, strict=True)
    }


def _columns(
    builder: Builder, func: Func, inputs: Sequence[Sym], wrt: Sequence[int], targets: Sequence[int]
) -> tuple[list[Sym], Blocks]:
    """Write the derivatives in forward mode: a batch of tangents, a place per element of an argument."""
    blocks: Blocks = {}
    results: list[Sym] = list(builder.call(func, inputs))
    for index in wrt:
        kind = func.params[index].tensor
        _check_float(func, f"%{func.params[index].name}", kind)
        pushed = push(func, [at == index for at in range(len(inputs))])
        batched = batch(pushed.func, [*[False] * len(inputs), True], Batch(kind.size))
        basis = builder.constant(np.eye(kind.size, dtype=kind.dtype.numpy).reshape(kind.size, *kind.shape))
        lanes = builder.constant(np.ones(kind.size, bool_.numpy))
        outputs = builder.call(batched.func, [*inputs, basis, lanes])
        tangents = dict(zip(pushed.results, outputs[len(func.results) :], strict=True))
        is_batched = dict(zip(pushed.results, batched.is_batched[len(func.results) :], strict=True))
        for target in targets:
            wanted = func.results[target].tensor
            _check_float(func, f"result {target}", wanted)
            column = materialized(
                builder, tangents.get(target), wanted.with_shape((kind.size, *wanted.shape))
            )
            if target in tangents and not is_batched[target]:
                column = ops.broadcast_to(column, (kind.size, *wanted.shape))
            blocks[target, index] = ops.reshape(moved(column, 0, -1), (*wanted.shape, *kind.shape))
    return results, {(target, index): blocks[target, index] for target in targets for index in wrt}


def _check_float(func: Func, what: str, kind: TensorType) -> None:
    if not kind.dtype.is_float:
        raise GradientError(f"derivatives of @{func.name}: {what} is {kind}; integers and booleans have none")


def jacrev(function: Any, position: Position = 0, has_aux: bool = False) -> Jacobian:
    """Return the function of the derivatives of all elements, in reverse mode: good for few results.

    y[...] of x[...] gives a tensor [y's axes, x's axes]; `position` chooses arguments as in `grad`. With
    `has_aux` only the first value is differentiated, and the others follow.

    >>> from framework import Tensor
    >>> jacrev(lambda x: x * x)(Tensor([1.0, 2.0]))
    Tensor([[2., 0.],
           [0., 4.]], float32)
    """
    return Jacobian(function, position, False, has_aux)


def jacfwd(function: Any, position: Position = 0, has_aux: bool = False) -> Jacobian:
    """Return the same as `jacrev`, in forward mode: good for few arguments."""
    return Jacobian(function, position, True, has_aux)


def hessian(function: Any, position: int = 0) -> Jacobian:
    """Return the function of the second derivatives of a scalar function: forward over reverse mode.

    >>> from framework import Tensor, ops
    >>> hessian(lambda x: ops.reduce_sum(x * x * x))(Tensor([1.0, 2.0]))
    Tensor([[ 6.,  0.],
           [ 0., 12.]], float32)
    """
    return jacfwd(jacrev(function, position), position)
