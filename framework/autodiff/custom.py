"""Gradient rules of a user's own: `custom_vjp`, a Cell's `bprop`, hooks on cotangents, and `recompute`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from framework.autodiff.linear import cotangents_of, zero
from framework.frontend.trace import Traced, apply, find_builder, name_of, place_of, trace
from framework.ir.builder import Builder, Sym
from framework.ir.control import AHEAD, BACK, RECOMPUTE
from framework.ir.nodes import CALL, Func
from framework.ir.types import TensorType, Type, has_cotangent
from framework.ops.matching import is_weak
from framework.ops.op import GradientError
from framework.tree import flatten, places, unflatten


def custom_vjp(function: Any) -> CustomVjp:
    """Return a function whose gradient rule `defvjp(ahead, back)` gives.

    `ahead(*args)` returns the value and what is to be kept; `back(kept, dy)` returns a cotangent, or None for
    zero, per argument. What the function uses beside its arguments gets no gradient.

    >>> from framework import grad, ops
    >>> @custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, ()), lambda kept, dy: (ops.minimum(dy, 0.5),))
    >>> float(grad(lambda x: clipped(x) * 3.0)(2.0))
    0.5
    """
    return CustomVjp(function)


def hook(x: Any, function: Callable[[Any], Any]) -> Any:
    """Return x; its cotangent goes through a function on the way back: to look at it, or to change it.

    A function that returns None leaves the cotangent as it is.

    >>> from framework import grad
    >>> float(grad(lambda x: hook(x, lambda dx: dx * 10.0) ** 2)(3.0))
    60.0
    """

    def back(_: Any, dy: Any) -> Any:
        builder = find_builder(dy)
        found = function(dy) if builder is None else apply(builder, function, [dy], {})
        return (dy if found is None else found,)

    hooked = custom_vjp(_identity)
    hooked.written = ("hook", function)
    hooked.defvjp(_unchanged, back)
    return hooked(x)


def _identity(x: Any) -> Any:
    return x


def _unchanged(x: Any) -> Any:
    return x, ()


def recompute(function: Any) -> Recomputed:
    """Return a function whose derivative keeps its arguments only and computes the function again.

    >>> from framework import grad
    >>> float(grad(recompute(lambda x: x * x * x))(2.0))
    12.0
    """
    return Recomputed(function)


class Recomputed:
    """A function that is computed again on the way back; see `recompute`."""

    def __init__(self, function: Any) -> None:
        """Hold the function."""
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the function."""
        builder = find_builder((args, kwargs))
        return self.function(*args, **kwargs) if builder is None else self.emit_call(builder, args, kwargs)

    def emit_call(self, builder: Builder, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Emit a call that says so."""
        traced = trace(self.function, args, kwargs, outer=builder)
        given = [*traced.leaves, *traced.builder.parameters.values()]
        outputs = builder.bind(CALL, given, {"func": traced.func, RECOMPUTE: True})
        traced.renew(builder, outputs)
        return unflatten(traced.structure, outputs)


class CustomVjp:
    """A function with a gradient rule of its own; see `custom_vjp`."""

    def __init__(self, function: Any) -> None:
        """Hold the function; its rule is given by `defvjp`."""
        self.function = function
        self.ahead: Any = None
        self.back: Any = None
        self.written: tuple[str, Any] | None = None
        """What messages call the rule, and the function that the user has written for it."""
        if hasattr(function, "__name__"):
            functools.update_wrapper(self, function, updated=())

    def defvjp(self, ahead: Callable[..., Any], back: Callable[..., Any]) -> None:
        """Give the rule: `ahead(*args)` returns (value, kept), `back(kept, dy)` a cotangent per argument."""
        self.ahead, self.back = ahead, back
        if self.written is None:
            self.written = ("back", back)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the function; in compiled code its rule goes along."""
        builder = find_builder((args, kwargs))
        return self.function(*args, **kwargs) if builder is None else self.emit_call(builder, args, kwargs)

    def emit_call(self, builder: Builder, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Emit a call with its rule."""
        if self.back is None:
            raise GradientError(
                f"{name_of(self.function)} is a custom_vjp without a rule\n"
                f"  next: {name_of(self.function)}.defvjp(ahead, back)"
            )
        return _Rule(builder, self, args, kwargs).emit()


class _Rule:
    """One call of a function with its own rule, traced: the function, the way ahead and the way back.

    What they use of the values around, Parameters among them, are operands of the call behind the arguments.
    """

    def __init__(
        self, builder: Builder, custom: CustomVjp, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        self.builder, self.name, self.args = builder, name_of(custom.function), tuple(args)
        self.word, self.written = custom.written or ("back", custom.back)
        self.count = len(flatten((self.args, dict(kwargs)))[0])
        self.plain = trace(custom.function, args, kwargs, outer=builder).without_renewals("the rule")
        self.ahead = trace(custom.ahead, args, kwargs, outer=builder).without_renewals("the rule")
        value, kept = self._split_ahead(custom.ahead)
        stand_ins = [_stand_in(atom.type) for atom in self.ahead.func.results]
        self.results = list(places(value))
        self.kept = list(places(kept))
        self.back = trace(
            custom.back, [unflatten(kept, stand_ins), unflatten(value, stand_ins)], {}, outer=builder
        )

    def _split_ahead(self, ahead: Any) -> tuple[Any, Any]:
        """Return the structures of the value, which is that of the function, and of what is kept."""
        structure = self.ahead.structure
        if not isinstance(structure, tuple) or len(structure) != 2:
            raise self._wrong("its `ahead` must return two values: the function's and what is kept", ahead)
        found = [str(self.ahead.func.results[at].type) for at in places(structure[0])]
        wanted = [str(self.plain.func.results[at].type) for at in places(self.plain.structure)]
        if found != wanted:
            shown = f"its `ahead` returns ({', '.join(found)}), the function ({', '.join(wanted)})"
            raise self._wrong(shown, ahead)
        return structure

    def emit(self) -> Any:
        """Append the call; return its value."""
        leaves = self.plain.leaves[: self.count]
        around = [_around(traced, count) for traced, count in self._parts()]
        given = [self.builder.value(each) for each in (*leaves, *itertools.chain(*around))]
        types = [each.atom.type for each in given]
        sizes = [len(each) for each in around]
        attrs = {
            "func": self._plain(types, sizes),
            AHEAD: self._ahead(types, sizes),
            BACK: self._back(types, sizes),
        }
        return unflatten(self.plain.structure, self.builder.bind(CALL, given, attrs))

    def _parts(self) -> list[tuple[Traced, int]]:
        """Return the three Funcs, and how many of their leaves are arguments."""
        return [
            (self.plain, self.count),
            (self.ahead, self.count),
            (self.back, len(self.kept) + len(self.results)),
        ]

    def _plain(self, types: Sequence[Type], sizes: Sequence[int]) -> Func:
        """Return the function over all operands."""
        builder, groups = self._opened(types, sizes)
        results = builder.call(self.plain.func, [*groups[0], *groups[1]])
        return builder.finish(self.name, [results[at] for at in range(len(results))])

    def _ahead(self, types: Sequence[Type], sizes: Sequence[int]) -> Func:
        """Return the way ahead over all operands: results, what is kept, what the way back uses."""
        builder, groups = self._opened(types, sizes)
        results = builder.call(self.ahead.func, [*groups[0], *groups[2]])
        order = [*self.results, *self.kept]
        return builder.finish(f"{self.name}_ahead", [*(results[at] for at in order), *groups[3]])

    def _back(self, types: Sequence[Type], sizes: Sequence[int]) -> Func:
        """Return the way back: cotangents of results, what is kept and used -> cotangents of operands."""
        builder = Builder()
        kinds = [self.plain.func.results[at].type for at in places(self.plain.structure)]
        dys = [builder.param(each) if has_cotangent(each) else zero(builder, each) for each in kinds]
        kept = [builder.param(self.ahead.func.results[at].type) for at in self.kept]
        used = [builder.param(each) for each in types[len(types) - sizes[2] :]]
        order = dict(zip([*self.kept, *self.results], [*kept, *dys], strict=True))
        found = builder.call(self.back.func, [*(order[at] for at in sorted(self.kept)), *dys, *used])
        given = self._cotangents(builder, found)
        rest = [zero(builder, each) for each in cotangents_of(types[self.count :])]
        return builder.finish(f"{self.name}_back", [*given, *rest])

    def _opened(self, types: Sequence[Type], sizes: Sequence[int]) -> tuple[Builder, list[list[Sym]]]:
        """Return a builder with parameters for all operands: arguments, then what each of the three uses."""
        builder = Builder()
        own = iter([builder.param(each) for each in types])
        return builder, [list(itertools.islice(own, size)) for size in (self.count, *sizes)]

    def _cotangents(self, builder: Builder, results: Sequence[Sym]) -> Iterator[Sym]:
        """Go over what the way back gives for the arguments that have cotangents; it must fit them."""
        given = self.back.structure
        given = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        if len(given) != len(self.args):
            raise self._wrong(
                f"its `{self.word}` gives {len(given)} cotangents, there are {len(self.args)} arguments; "
                "give None for those without"
            )
        leaves = zip(self.plain.func.params, self.plain.leaves, strict=False)
        for at, (structure, arg) in enumerate(zip(given, self.args, strict=True)):
            own = list(itertools.islice(leaves, len(flatten(arg)[0])))
            found = list(places(structure))
            if found and own and len(found) != len(own):  # a number known while compiling has none
                raise self._wrong(f"cotangent {at} has {len(found)} tensors, argument {at} has {len(own)}")
            for order, (param, leaf) in enumerate(own):
                if not has_cotangent(param.type):
                    continue
                if found:
                    is_number = self.back.weak[found[order]] or is_weak([leaf])
                    yield self._fitting(at, results[found[order]], param.type, is_number)
                else:
                    yield self._known(builder, at, structure, param.type)

    def _known(self, builder: Builder, at: int, given: Any, kind: Type) -> Sym:
        """Return a cotangent that is known when compiling: None, which is zero, or a number for a scalar."""
        if given is None or given in ((), []):
            return zero(builder, kind)
        if isinstance(kind, TensorType) and not kind.shape and type(given) in (int, float):
            return builder.constant(given, kind.dtype)
        raise self._unfit(at, repr(given), kind)

    def _fitting(self, at: int, dx: Sym, kind: Type, is_number: bool) -> Sym:
        """Return a cotangent, if it has the type of its argument; numbers of Python's take on its dtype."""
        if dx.atom.type == kind:
            return dx
        if is_number and isinstance(kind, TensorType) and dx.shape == kind.shape and dx.dtype.is_float:
            cast: Sym = dx.astype(kind.dtype)
            return cast
        raise self._unfit(at, str(dx.atom.type), kind)

    def _unfit(self, at: int, given: str, kind: Type) -> GradientError:
        return self._wrong(
            f"cotangent {at} is {given}, argument {at} is {kind}\n"
            "  rule: a cotangent has the shape and dtype of its argument"
        )

    def _wrong(self, what: str, written: Any = None) -> GradientError:
        """Return the error of a rule that is wrong, with the line on which it is written."""
        name = f"hook {name_of(self.written)}" if self.word == "hook" else f"gradient rule of {self.name}"
        return GradientError(f"{name}: {what}{place_of(written or self.written)}")


def _around(traced: Traced, count: int) -> list[Any]:
    """Return what a Func uses beside its arguments: values around, and Parameters."""
    return [*traced.leaves[count:], *traced.builder.parameters.values()]


def _stand_in(kind: Type) -> Sym:
    """Return a symbol that has a type and no value."""
    return Builder().param(kind)
