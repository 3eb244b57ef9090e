"""Forward mode: a Func becomes one that takes tangents with its values and gives those of its results.

The tangent rule of an operator is its gradient rule, transposed: what takes cotangents of the outputs to
those of the inputs is linear in them, and turning a linear program around is what reverse mode does. Control
flow is walked through ahead: a loop has the tangents in its state and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from davinci_sim.errors import DavinciError
from framework.autodiff.linear import Context, Linearized, check_cotangents, materialized
from framework.ir.builder import Builder, Sym, restored
from framework.ir.control import (
    Signature,
    is_control,
)
from framework.ir.lines import at_line
from framework.ir.nodes import Atom, Binding, Func, Var
from framework.ir.registry import operator
from framework.ir.types import FnType, StackType, Type, has_cotangent
from framework.ops import Call, NoGradient
from framework.passes.dead_code import dead_code


def has_tangent(type_: Type) -> bool:
    """Tell whether values of a type come with a tangent; a function has those of what it captured inside."""
    if isinstance(type_, StackType):
        return has_tangent(type_.element)
    return not isinstance(type_, FnType) and has_cotangent(type_)


def forward_type(type_: Type) -> Type:
    """Return the type that values have in forward mode: functions take and give tangents, too."""
    if isinstance(type_, StackType):
        return StackType(forward_type(type_.element))
    if not isinstance(type_, FnType):
        return type_
    params, results = (
        (*map(forward_type, each), *filter(has_tangent, each)) for each in (type_.params, type_.results)
    )
    return FnType(params, results)


@dataclass(frozen=True)
class Pushed:
    """A Func in forward mode.

    func   params, tangents of `params` -> results, tangents of `results`
    """

    func: Func
    params: tuple[int, ...]
    results: tuple[int, ...]


@dataclass
class Around:
    """What is known while Funcs are pushed forward: those around that call themselves, and what is done."""

    names: dict[str, tuple[str, Signature]] = field(default_factory=dict)
    made: dict[tuple[int, tuple[bool, ...]], tuple[Func, Pushed]] = field(default_factory=dict)

    @property
    def known(self) -> dict[str, Signature]:
        """Return the signatures of the Funcs around, as they are in forward mode."""
        return dict(self.names.values())

    def push(self, func: Func, active: Sequence[bool]) -> Pushed:
        """Return a Func in forward mode, with tangents for these parameters; made once."""
        key = (id(func), tuple(active))
        if key not in self.made:
            self.made[key] = (func, push(func, active, self))
        return self.made[key][1]


def push(func: Func, active: Sequence[bool], around: Around | None = None, name: str = "") -> Pushed:
    """Return a Func in forward mode, with tangents for these parameters."""
    builder = Builder()
    inputs = [builder.param(forward_type(param.type), param.name) for param in func.params]
    params = tuple(at for at, param in enumerate(func.params) if active[at] and has_tangent(param.type))
    tangents = {at: builder.param(func.params[at].type) for at in params}
    forward = Forward(builder, func, inputs, tangents, around or Around())
    results = tuple(at for at, atom in enumerate(func.results) if atom in forward.tangents)
    found = [*forward.results, *(forward.tangents[func.results[at]] for at in results)]
    return Pushed(dead_code(builder.finish(name or f"{func.name}_forward", found)), params, results)


class Forward:
    """A Func written into a builder, with the tangents of its values."""

    def __init__(
        self, builder: Builder, func: Func, inputs: Sequence[Sym], tangents: dict[int, Sym], around: Around
    ) -> None:
        """Write the bindings of a Func over inputs, some of which have tangents."""
        self.builder, self.func, self.around = builder, func, around
        self.scope: dict[Var, Sym] = dict(zip(func.params, inputs, strict=True))
        self.tangents: dict[Atom, Sym] = {func.params[at]: tangent for at, tangent in tangents.items()}
        from framework.autodiff.forward_rules import RULES

        for binding in func.bindings:
            builder.source = binding.source or builder.source
            if is_control(binding.op):
                RULES[binding.op](self, binding)
            else:
                self._operator(binding)

    @property
    def results(self) -> list[Sym]:
        """Return the results of the Func."""
        return self.values(self.func.results)

    def values(self, atoms: Sequence[Atom]) -> list[Sym]:
        """Return what atoms of the Func are in the builder."""
        return [restored(self.scope, self.builder, atom) for atom in atoms]

    def active(self, atoms: Sequence[Atom]) -> list[bool]:
        """Tell which atoms have tangents."""
        return [atom in self.tangents for atom in atoms]

    def tangents_of(self, atoms: Sequence[Atom]) -> list[Sym]:
        """Return the tangents of the atoms whose type has some, zeros where there are none."""
        return [self.tangent(atom) for atom in atoms if has_tangent(atom.type)]

    def tangent(self, atom: Atom) -> Sym:
        """Return the tangent of an atom, zeros if there is none."""
        return materialized(self.builder, self.tangents.get(atom), atom.type)

    def enter(self, binding: Binding, outputs: Sequence[Sym], tangents: Sequence[Sym | None]) -> None:
        """Enter what became of a binding."""
        self.scope.update(zip(binding.outputs, outputs, strict=True))
        found = zip(binding.outputs, tangents, strict=True)
        self.tangents.update({var: tangent for var, tangent in found if tangent is not None})

    def enter_all(self, binding: Binding, outputs: Sequence[Sym]) -> None:
        """Enter outputs, and behind them the tangents of all that can have one."""
        count = len(binding.outputs)
        further = iter(outputs[count:])
        tangents = [next(further) if has_tangent(var.type) else None for var in binding.outputs]
        self.enter(binding, outputs[:count], tangents)

    def _operator(self, binding: Binding) -> None:
        """Write an operator; its tangent comes from its gradient rule."""
        self.builder.replay_binding(binding, self.scope)
        rule = operator(binding.op).vjp
        if isinstance(rule, NoGradient) or not any(self.active(binding.inputs)):
            return
        inside = Builder(self.builder)
        dys = [inside.param(var.type) for var in binding.outputs]
        inputs, outputs = (map(inside.lift, self.values(each)) for each in (binding.inputs, binding.outputs))
        try:
            pulled = rule(Call(tuple(inputs), tuple(outputs), dict(binding.attrs)), *dys)
            check_cotangents(binding, pulled)
        except DavinciError as error:
            raise at_line(error, binding.source) from None
        kept = [
            (atom, dx) for atom, dx in zip(binding.inputs, pulled, strict=True)
            if dx is not None and atom in self.tangents
        ]  # fmt: skip
        linear = inside.finish(binding.op, [dx for _, dx in kept])
        found = transposed(
            self.builder, linear, len(dys), inside.captured, [self.tangents[atom] for atom, _ in kept]
        )
        self.enter(binding, self.values(binding.outputs), found)


def transposed(
    builder: Builder, linear: Func, count: int, captured: Sequence[Sym], given: Sequence[Sym]
) -> list[Sym | None]:
    """Turn a Func around that is linear in its first `count` parameters: from its results to these."""
    zeros = [materialized(builder, None, param.type) for param in linear.params[:count]]
    active = [at < count for at in range(len(linear.params))]
    return Linearized(builder, linear, [*zeros, *captured], active, Context()).pull_back(builder, given)[
        :count
    ]
