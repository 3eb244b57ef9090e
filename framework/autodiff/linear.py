"""Reverse mode: a Func becomes what computes it and keeps what its derivative needs, and what goes backwards.

`Linearized` writes the bindings of a Func into a builder again; afterwards `pull_back` writes what turns
cotangents of the results into cotangents of the parameters. Where both stand in one Func (the gradient of
straight code) that is all. A Func that is called, a branch or the body of a loop becomes a `Pair`: one Func
that goes forward and gives its results and residuals, and one that goes backward from residuals and
cotangents. The builder of the second stands inside of the builder of the first: residuals are simply what it
uses of the values there.

A function as a value becomes one that gives its results and its backpropagator, a function from cotangents
of the results to an env (of what was captured) and cotangents of the arguments. A Func that calls itself
gives its backpropagator, too: the residuals of a recursion have no other type that could be written down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from davinci_sim.errors import DavinciError, InternalError
from framework.ir.builder import Builder, Sym, restored
from framework.ir.control import ACCUMULATE, NOTHING, Signature, is_control
from framework.ir.lines import at_line
from framework.ir.nodes import Atom, Binding, Const, Func, Var
from framework.ir.recursion import calls_around
from framework.ir.registry import operator
from framework.ir.types import EnvType, FnType, StackType, TensorType, Type, cotangent_type, has_cotangent
from framework.ops import Call, NoGradient, broadcast_to
from framework.ops.op import GradientError
from framework.passes.dead_code import dead_code

Cotangents = Sequence[Sym | None]
Pull = Callable[[Builder, Cotangents], Cotangents]
"""Writes, into a builder, cotangents of inputs from cotangents of outputs; None is zero."""


def linear_type(type_: Type) -> Type:
    """Return the type that values have on the way ahead: functions give backpropagators, too."""
    if isinstance(type_, StackType):
        return StackType(linear_type(type_.element))
    if not isinstance(type_, FnType):
        return type_
    params, results = (tuple(map(linear_type, each)) for each in (type_.params, type_.results))
    back = FnType(cotangents_of(type_.results), (EnvType(), *cotangents_of(type_.params)))
    return FnType(params, (*results, back))


def cotangents_of(types: Sequence[Type]) -> tuple[Type, ...]:
    """Return the types of the cotangents of those that have some."""
    return tuple(cotangent_type(each) for each in types if has_cotangent(each))


@dataclass(frozen=True)
class Residual:
    """What a backward Func needs of its forward one: a parameter, by number, or a further result."""

    param: int | None
    type: Type


@dataclass(frozen=True)
class Pair:
    """A Func that goes forward and one that goes backward.

    forward   params -> results, further residuals
    backward  cotangents of `results`, residuals -> cotangents of `params`
    """

    forward: Func
    backward: Func
    residuals: tuple[Residual, ...]
    params: tuple[int, ...]
    results: tuple[int, ...]

    @property
    def kept(self) -> int:
        """Return how many results `forward` has before the residuals."""
        return len(self.forward.results) - self.further

    @property
    def further(self) -> int:
        """Return how many results `forward` has for residuals."""
        return sum(each.param is None for each in self.residuals)

    def cotangent(self, param: int) -> Type:
        """Return the type of the cotangents of a parameter."""
        return cotangent_type(self.forward.params[param].type)

    def split(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Return the results and the residuals of a call of `forward`."""
        further = iter(outputs[self.kept :])
        residuals = [next(further) if each.param is None else inputs[each.param] for each in self.residuals]
        return list(outputs[: self.kept]), residuals

    def pull(self, builder: Builder, dys: Cotangents, residuals: Sequence[Any]) -> list[Sym | None]:
        """Write the call of `backward`; return a cotangent, or None, per parameter of `forward`."""
        given = [
            _or_nothing(builder, dys[at], param.type)
            for at, param in zip(self.results, self.backward.params, strict=False)
        ]
        found = builder.call(self.backward, [*given, *residuals])
        dxs: list[Sym | None] = [None] * len(self.forward.params)
        for at, dx in zip(self.params, found, strict=True):
            dxs[at] = dx
        return dxs


@dataclass(frozen=True)
class Recursive:
    """A Func that is being linearized and calls itself: the name and the type of what it becomes."""

    forward: str
    signature: Signature


@dataclass
class Context:
    """What is known while Funcs are linearized: those around, by name, and the Pairs made so far."""

    around: Mapping[str, Recursive] = field(default_factory=dict)
    made: dict[tuple[int, tuple[bool, ...]], tuple[Func, Pair]] = field(default_factory=dict)
    packed: dict[int, tuple[Func, Func]] = field(default_factory=dict)
    """Funcs that give their backpropagators."""

    @property
    def known(self) -> dict[str, Signature]:
        """Return the signatures of the Funcs around, as they are now."""
        return {each.forward: each.signature for each in self.around.values()}

    def pair(self, func: Func, active: Sequence[bool]) -> Pair:
        """Return the Pair of a Func for these parameters; made once."""
        key = (id(func), tuple(active))
        if key not in self.made:
            self.made[key] = (func, _make_pair(func, active, self))
        return self.made[key][1]


class Linearized:
    """A Func written into a builder, and then backwards into that or another one."""

    def __init__(
        self, builder: Builder, func: Func, inputs: Sequence[Sym], active: Sequence[bool], context: Context
    ) -> None:
        """Write the bindings of the Func over inputs; `active` says for which cotangents are wanted."""
        from framework.autodiff.rules import RULES

        self.builder, self.func, self.context = builder, func, context
        self.scope: dict[Var, Sym] = dict(zip(func.params, inputs, strict=True))
        self.active: set[Atom] = {
            param
            for param, is_active in zip(func.params, active, strict=True)
            if is_active and has_cotangent(param.type)
        }
        self._steps: list[tuple[Binding, Pull]] = []
        self._before_casts: dict[Atom, TensorType] = {}
        for binding in func.bindings:
            builder.source = binding.source or builder.source
            if not is_control(binding.op):
                self._operator(binding)
            elif self._is_plain(binding):
                builder.replay_binding(binding, self.scope)
            else:
                RULES[binding.op](self, binding)

    @property
    def results(self) -> list[Sym]:
        """Return the results of the Func."""
        return [self.value(atom) for atom in self.func.results]

    def value(self, atom: Atom) -> Sym:
        """Return what an atom of the Func is in the builder."""
        return restored(self.scope, self.builder, atom)

    def values(self, atoms: Sequence[Atom]) -> list[Sym]:
        """Return what atoms of the Func are in the builder."""
        return [self.value(atom) for atom in atoms]

    def actives(self, atoms: Sequence[Atom]) -> list[bool]:
        """Tell which atoms cotangents are wanted for."""
        return [atom in self.active for atom in atoms]

    def step(self, binding: Binding, outputs: Sequence[Sym], pull: Pull) -> None:
        """Enter what became of a binding, and how it is gone through backwards."""
        self.scope.update(zip(binding.outputs, outputs, strict=True))
        self.active.update(var for var in binding.outputs if has_cotangent(var.type))
        self._steps.append((binding, pull))

    def pull_back(self, builder: Builder, dys: Cotangents) -> list[Sym | None]:
        """Write the way back; return a cotangent, or None, per parameter, of its type."""
        cotangents: dict[Atom, Sym] = {}
        for atom, dy in zip(self.func.results, dys, strict=True):
            self._add(builder, cotangents, atom, dy)
        for binding, pull in reversed(self._steps):
            found = [cotangents.get(var) for var in binding.outputs]
            if all(dy is None for dy in found):
                continue
            builder.source = binding.source
            try:
                pulled = pull(builder, found)
            except DavinciError as error:
                raise at_line(error, binding.source) from None
            for atom, dx in zip(binding.inputs, pulled, strict=True):
                self._add(builder, cotangents, atom, dx)
        builder.source = None
        return [cotangents.get(param) for param in self.func.params]

    def _add(self, builder: Builder, cotangents: dict[Atom, Sym], atom: Atom, dx: Sym | None) -> None:
        if dx is None or isinstance(atom, Const) or atom not in self.active:
            return
        dx = _of_type(dx, self._cotangent_type(atom))
        before = cotangents.get(atom)
        cotangents[atom] = dx if before is None else added(builder, before, dx)

    def _cotangent_type(self, atom: Atom) -> Type:
        """Return the type that cotangents of an atom are kept in: what a cast narrows gets wide ones.

        The cast would widen them again, with the digits that were lost in between.
        """
        return self._before_casts.get(atom) or cotangent_type(atom.type)

    def _note_cast(self, binding: Binding) -> None:
        (x,), (y,) = binding.inputs, binding.outputs
        if x.tensor.dtype.is_float and x.tensor.dtype.itemsize_bytes > y.tensor.dtype.itemsize_bytes:
            self._before_casts[y] = x.tensor

    def _is_plain(self, binding: Binding) -> bool:
        """Tell whether a binding of the control table needs no way back, and no backpropagators either."""
        types = [each.type for each in (*binding.inputs, *binding.outputs)]
        return (
            not any(self.actives(binding.inputs))
            and all(linear_type(each) == each for each in types)
            and not calls_around(binding)
        )

    def _operator(self, binding: Binding) -> None:
        """Write an operator; backwards its rule speaks."""
        self.builder.replay_binding(binding, self.scope)
        rule = operator(binding.op).vjp
        if isinstance(rule, NoGradient) or not any(self.actives(binding.inputs)):
            return
        if binding.op == "cast":
            self._note_cast(binding)
        inputs, outputs = self.values(binding.inputs), [self.scope[var] for var in binding.outputs]
        wide = {
            at: self._before_casts[x].dtype for at, x in enumerate(binding.inputs) if x in self._before_casts
        }

        def pull(builder: Builder, dys: Cotangents) -> Cotangents:
            given, made = tuple(map(builder.lift, inputs)), tuple(map(builder.lift, outputs))
            call = Call(given, made, dict(binding.attrs), wide)
            moved = [_or_nothing(builder, dy, var.type) for dy, var in zip(dys, binding.outputs, strict=True)]
            pulled: Cotangents = rule(call, *moved)
            check_cotangents(binding, pulled)
            return pulled

        self.step(binding, outputs, pull)


def check_cotangents(binding: Binding, pulled: Any) -> None:
    """Refuse what the gradient rule of an operator gives if its count or a shape does not fit the inputs."""
    what = f"gradient rule of operator {binding.op}"
    if not isinstance(pulled, (tuple, list)) or len(pulled) != len(binding.inputs):
        given = len(pulled) if isinstance(pulled, (tuple, list)) else "no tuple of"
        raise GradientError(
            f"{what}: it gives {given} cotangents, there are {len(binding.inputs)} inputs\n"
            "  next: return a tuple with a cotangent, or None for zero, per input"
        )
    for at, (dx, atom) in enumerate(zip(pulled, binding.inputs, strict=True)):
        if dx is not None and has_cotangent(atom.type) and _shape(dx) != atom.tensor.shape:
            found = dx.type if isinstance(dx, Sym) else f"{dx!r}"
            raise GradientError(
                f"{what}: cotangent {at} is {found}, input {at} is {atom.type}\n"
                "  rule: a cotangent has the shape of its input"
            )


def _shape(dx: Any) -> Any:
    return dx.shape if isinstance(dx, Sym) else None


def materialized(builder: Builder, dy: Sym | None, type_: Type) -> Sym:
    """Return a cotangent, zeros of its type where there is none."""
    return builder.lift(dy) if dy is not None else zero(builder, type_)


def zero(builder: Builder, type_: Type) -> Sym:
    """Return the zero of a type: a constant, or `nothing`."""
    if isinstance(type_, TensorType):
        scalar = builder.constant(0, type_.dtype)
        found: Sym = scalar if type_.shape == () else broadcast_to(scalar, type_.shape)
        return found
    return nothing(builder, type_)


def _or_nothing(builder: Builder, dy: Sym | None, type_: Type) -> Sym:
    """Return a cotangent, or a zero that takes what is made from it away with it."""
    return nothing(builder, type_) if dy is None else builder.lift(dy)


def nothing(builder: Builder, type_: Type) -> Sym:
    """Return a zero that passes take away together with what is computed from it."""
    return builder.bind(NOTHING, [], {"type": str(type_)})[0]


def added(builder: Builder, a: Sym, b: Sym) -> Sym:
    """Return the sum of two cotangents of one type."""
    if isinstance(a.atom.type, TensorType):
        found: Sym = operator("add")(builder.lift(a), builder.lift(b))
        return found
    return builder.bind(ACCUMULATE, [a, b], {})[0]


def _of_type(dx: Sym, wanted: Type) -> Sym:
    """Return a cotangent in the dtype of what it belongs to: rules may give a wider one."""
    found = dx.atom.type
    if isinstance(found, TensorType) and isinstance(wanted, TensorType) and found.shape == wanted.shape:
        cast: Sym = dx if found == wanted else dx.astype(wanted.dtype)
        return cast
    if found != wanted:
        raise InternalError(f"a cotangent is {found}, what it belongs to has those of {wanted}")
    return dx


def _make_pair(func: Func, active: Sequence[bool], context: Context) -> Pair:
    ahead = Builder()
    inputs = [ahead.param(linear_type(param.type), param.name) for param in func.params]
    linearized = Linearized(ahead, func, inputs, active, context)
    back = Builder(ahead)
    results = tuple(at for at, atom in enumerate(func.results) if atom in linearized.active)
    given = {at: back.param(cotangent_type(func.results[at].type)) for at in results}
    dxs = linearized.pull_back(back, [given.get(at) for at in range(len(func.results))])
    params = tuple(at for at, param in enumerate(func.params) if param in linearized.active)
    found = [materialized(back, dxs[at], cotangent_type(func.params[at].type)) for at in params]
    backward, used = _without_unused(back.finish(f"{func.name}_back", found), len(given), back.captured)
    numbers = {sym.atom: at for at, sym in enumerate(inputs)}
    residuals = tuple(Residual(numbers.get(sym.atom), sym.atom.type) for sym in used)
    further = [sym for sym in used if sym.atom not in numbers]
    forward = dead_code(ahead.finish(f"{func.name}_ahead", [*linearized.results, *further]))
    return Pair(forward, backward, residuals, params, results)


def _without_unused(backward: Func, given: int, captured: Sequence[Sym]) -> tuple[Func, list[Sym]]:
    """Return a Func without what its results do not need, and those captured values that it uses."""
    func = dead_code(backward)
    needed = {atom for binding in func.bindings for atom in binding.inputs} | set(func.results)
    pairs = [
        (param, sym) for param, sym in zip(func.params[given:], captured, strict=True) if param in needed
    ]
    params = (*func.params[:given], *(param for param, _ in pairs))
    return replace(func, params=params), [sym for _, sym in pairs]
