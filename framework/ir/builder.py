"""Build a Func by applying operators to symbolic values.

A `Sym` is an atom together with the builder of the Func that it lives in. Applying an operator to it appends
a binding, so Python code over Syms (gradient rules, library layers) writes IR.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from davinci_sim.errors import DavinciError, InternalError
from framework.dtypes import DType
from framework.ir.arithmetic import Arithmetic
from framework.ir.control import Signature, infer_control
from framework.ir.nodes import CALL, Atom, Attrs, Binding, Const, Func, SourceLine, Var
from framework.ir.registry import operator
from framework.ir.subscript import taken_apart
from framework.ir.types import TensorType, Type
from framework.tensor import Parameter, Tensor


def not_a_tensor(value: Any) -> DavinciError:
    """Return the error for an operand that is none.

    >>> print(not_a_tensor("a"))
    an operand is 'a'
      rule: operands are tensors, arrays and numbers, this is a str
    """
    kind = type(value).__name__
    if value is None:
        return DavinciError(
            "an operand is None\n  rule: operands are tensors, arrays and numbers\n"
            "  next: return a value on every path of the function that gives it, or test `is None` first"
        )
    shown = f"a {kind}" if len(repr(value)) > 60 else repr(value)
    return DavinciError(
        f"an operand is {shown}\n  rule: operands are tensors, arrays and numbers, this is a {kind}"
    )


NO_FUNCS: Mapping[str, Signature] = {}


class Sym(Arithmetic):
    """A value of a Func that is being built: a variable or a constant, without data.

    A `weak` one is a number of the program, such as a counter: it takes on the dtype of a tensor it meets.
    """

    is_symbolic = True

    def __init__(
        self, builder: Builder, atom: Atom, parameter: Parameter | None = None, weak: bool = False
    ) -> None:
        """Tie an atom to its builder, and to the Parameter whose value it is."""
        self._parameter = parameter
        self.builder = builder
        self.atom = atom
        self.weak = weak

    @property
    def type(self) -> TensorType:
        """Return shape and dtype."""
        return self.atom.tensor

    @property
    def parameter(self) -> Parameter | None:
        """Return the Parameter whose value it is; None once that one has been given a new value."""
        if self._parameter is None or self.builder.parameter(self._parameter).atom is self.atom:
            return self._parameter
        return None

    @property
    def name(self) -> str:
        """Return the name of the variable; a constant has none."""
        return self.atom.name if isinstance(self.atom, Var) else ""

    def __iter__(self) -> Iterator[Any]:
        """Refuse: the values are not known while compiling."""
        raise DavinciError(f"a tensor {self.type} cannot be unpacked in compiled code; only tuples can")

    def __getitem__(self, index: Any) -> Any:
        """Return a part, chosen as NumPy chooses it."""
        spec, inputs = taken_apart(index)
        return operator("index")(self, *inputs, spec=spec)

    def item(self) -> Sym:
        """Return the only element as a number of the program."""
        if self.size != 1:
            raise DavinciError(f"a tensor {self.type} holds {self.size} elements; item() needs exactly one")
        kind = "float64" if self.dtype.is_float else "bool" if self.dtype.name == "bool" else "int64"
        number = operator("cast")(operator("reshape")(self, ()), kind)
        return Sym(number.builder, number.atom, weak=True)

    def __bool__(self) -> bool:
        """Refuse: the value is not known while compiling."""
        raise DavinciError(f"the truth of a tensor {self.type} is not known while compiling; use ops.select")

    def __repr__(self) -> str:
        """Return name and type."""
        return f"Sym({'%' if self.name else 'const'}{self.name}: {self.type})"


class Mark(NamedTuple):
    """How far a Func has come: how many bindings it has, and how many new values of Parameters."""

    bindings: int
    renewals: int


class Builder:
    """The bindings of one Func, in the order they were emitted.

    A Func inside another one (`parent`) that uses values or Parameters of the outer one gets them as further
    parameters: `captured` lists them, as the outer Func sees them, in the order of those parameters.
    `calls` is where the front end remembers the Funcs that it has made, so that equal calls share one.
    """

    def __init__(self, parent: Builder | None = None) -> None:
        """Start empty; names that are not given are numbers, counted over the whole chain of parents."""
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.source: SourceLine | None = None if parent is None else parent.source
        self.stages: list[tuple[str, Func]] = [] if parent is None else parent.stages
        self.calls: Any = None if parent is None else parent.calls
        self._fresh: Iterator[int] = itertools.count() if parent is None else parent._fresh
        self._params: list[Var] = []
        self._used_names: set[str] = set()
        self._bindings: list[Binding] = []
        self.captured: list[Sym] = []
        self._capture_of: dict[tuple[Builder, Atom], Sym] = {}
        self._inside: dict[Atom, Var] = {}
        self.parameters: dict[str, Parameter] = {}
        self._parameter_of: dict[int, Sym] = {}
        self._renewals: list[tuple[Parameter, Sym]] = []
        self._renewed: dict[int, Sym] = {}

    def mark(self) -> Mark:
        """Return how far the Func has come."""
        return Mark(len(self._bindings), len(self._renewals))

    def since(self, mark: Mark) -> Sequence[Binding]:
        """Return the bindings after a mark."""
        return self._bindings[mark.bindings :]

    def forget(self, mark: Mark) -> None:
        """Go back to a mark: what was tried is not wanted."""
        del self._bindings[mark.bindings :]
        del self._renewals[mark.renewals :]
        self._renewed = {id(parameter): value for parameter, value in self._renewals}

    @property
    def params(self) -> Sequence[Var]:
        """Return the parameters so far."""
        return self._params

    def param(self, type_: Type, name: str | None = None) -> Sym:
        """Add a parameter to the Func."""
        found = _unique(name, self._used_names) if name else self._name()
        return Sym(self, self._add(Var(found, type_)))

    def _add(self, var: Var) -> Var:
        self._params.append(var)
        self._used_names.add(var.name)
        return var

    def constant(self, value: Any, dtype: DType | None = None) -> Sym:
        """Return a constant: a tensor, an array or a number."""
        if isinstance(value, float):
            return Sym(self, _number(value, math.copysign(1.0, value), dtype))
        if isinstance(value, int):
            return Sym(self, _number(value, 1.0, dtype))
        return Sym(self, Const.of(Tensor(value, dtype).numpy()))

    def parameter(self, parameter: Parameter) -> Sym:
        """Return the value of a Parameter, which becomes a parameter of the outermost Func."""
        if id(parameter) in self._renewed:
            return self._renewed[id(parameter)]
        if id(parameter) not in self._parameter_of:
            if self.parent is not None:
                atom = self._capture(self.parent.parameter(parameter)).atom
                self._parameter_of[id(parameter)] = Sym(self, atom, parameter)
            else:
                name = (
                    parameter.name
                    if parameter.name and not parameter.name.isdigit()
                    else f"p{parameter.name}"
                )
                sym = self.param(parameter.type, name)
                self._parameter_of[id(parameter)] = Sym(self, sym.atom, parameter)
                self.parameters[sym.name] = parameter
        return self._parameter_of[id(parameter)]

    @property
    def renewed(self) -> list[tuple[Parameter, Sym]]:
        """Return the Parameters that have got a new value, each with the last one."""
        return list({id(each): (each, value) for each, value in self._renewals}.values())

    def renew(self, parameter: Parameter, value: Any) -> Sym:
        """Give a Parameter a new value: what is emitted from here on reads it.

        Raises:
            DavinciError: the Func is a branch or a loop, which may run never or often.
        """
        if self.parent is not None:
            raise DavinciError(
                f"{parameter!r} is assigned inside of a branch, a loop or a function of run time\n"
                "  rule: an assignment stands where each run comes by once\n"
                "  next: choose the new value there, and call ops.assign after it"
            )
        self.parameter(parameter)
        found = Sym(self, self.value(value).atom, parameter)
        self._renewals.append((parameter, found))
        self._renewed[id(parameter)] = found
        return found

    def lift(self, sym: Sym) -> Sym:
        """Return a value of this or an outer Func as a value of this Func."""
        if sym.builder is self:
            return sym
        if sym.parameter is not None:
            return self.parameter(sym.parameter)
        return self._capture(sym)

    def _capture(self, sym: Sym) -> Sym:
        """Return a value of an outer Func, which becomes a parameter of this one."""
        if isinstance(sym.atom, Const):
            return Sym(self, sym.atom, weak=sym.weak)
        if self.parent is None:
            raise DavinciError(
                f"{sym!r} belongs to a function that has ended; pass it as an argument instead"
            )
        key = (sym.builder, sym.atom)
        found = self._capture_of.get(key)
        if found is None:
            outer = self.parent.lift(sym)
            inner = self._inside.get(outer.atom)
            if inner is None:
                self.captured.append(outer)
                inner = self._inside[outer.atom] = self._add(Var(self._name(), outer.atom.type))
            found = self._capture_of[key] = Sym(self, inner, weak=sym.weak)
        return found

    def value(self, value: Any, dtype: DType | None = None) -> Sym:
        """Return a Sym of this Func for a Sym, Parameter, tensor, array or number."""
        if isinstance(value, Sym):
            return value if value.builder is self else self.lift(value)
        if isinstance(value, Parameter):
            return self.parameter(value)
        if isinstance(value, (Tensor, np.ndarray, np.generic, int, float, bool)):
            return self.constant(value, dtype)
        raise not_a_tensor(value)

    def emit(self, op: str, inputs: Sequence[Sym], attrs: Attrs) -> tuple[Sym, ...]:
        """Append a binding of an operator; its output types are inferred."""
        atoms = tuple(self.lift(each).atom for each in inputs)
        types = operator(op).infer_types([atom.tensor for atom in atoms], attrs)
        return self._append(op, atoms, types, attrs)

    def bind(
        self, op: str, inputs: Sequence[Any], attrs: Attrs, known: Mapping[str, Signature] = NO_FUNCS
    ) -> tuple[Sym, ...]:
        """Append a binding of `framework.ir.control`; its output types follow from its Funcs."""
        atoms = tuple([self.value(each).atom for each in inputs])
        types = infer_control(op, [atom.type for atom in atoms], attrs, known)
        return self._append(op, atoms, types, attrs)

    def call(self, func: Func, inputs: Sequence[Any]) -> tuple[Sym, ...]:
        """Append a call of another Func."""
        return self.bind(CALL, inputs, {"func": func})

    def replay(self, func: Func, inputs: Sequence[Sym]) -> dict[Var, Sym]:
        """Append the bindings of a Func under fresh names; return what each of its Vars became."""
        scope = {param: self.lift(each) for param, each in zip(func.params, inputs, strict=True)}
        for binding in func.bindings:
            self.replay_binding(binding, scope)
        return scope

    def replay_binding(self, binding: Binding, scope: dict[Var, Sym]) -> None:
        """Append a binding under fresh names, over what the scope says of its inputs."""
        atoms = tuple(self.lift(restored(scope, self, each)).atom for each in binding.inputs)
        self.source, outer = binding.source or self.source, self.source
        types = tuple(var.type for var in binding.outputs)
        outputs = self._append(binding.op, atoms, types, binding.attrs)
        self.source = outer
        scope.update(zip(binding.outputs, outputs, strict=True))

    def finish(
        self,
        name: str,
        results: Sequence[Any],
        updates: Mapping[int, str] | None = None,
        captured: Sequence[Sym] = (),
    ) -> Func:
        """Return the Func built so far with these results.

        With `captured`, values of the parent, these are its last parameters: those that it has captured must
        be among them, the others it takes and does not look at.
        """
        atoms = tuple(self.value(each).atom for each in results)
        params = self._params
        if captured:
            inside = set(self._inside.values())
            own = [each for each in params if each not in inside]
            params = [*own, *(self._taken(each) for each in captured)]
        return Func(name, tuple(params), tuple(self._bindings), atoms, dict(updates or {}))

    def _taken(self, outer: Sym) -> Var:
        """Return the parameter that a value of the parent has here, a fresh one if it is not used."""
        inner = self._inside.get(outer.atom)
        return Var(self._name(), outer.atom.type) if inner is None else inner

    def _append(
        self, op: str, atoms: tuple[Atom, ...], types: Sequence[Type], attrs: Attrs
    ) -> tuple[Sym, ...]:
        outputs = tuple([Var(self._name(), each) for each in types])
        self._bindings.append(Binding(outputs, op, atoms, attrs, self.source))
        return tuple([Sym(self, var) for var in outputs])

    def _name(self) -> str:
        name = str(next(self._fresh))
        while name in self._used_names:
            name = str(next(self._fresh))
        return name


@functools.lru_cache(maxsize=4096, typed=True)
def _number(value: float, sign: float, dtype: DType | None) -> Const:
    """Return the constant of a number; the sign tells zeros apart, which are equal."""
    return Const.of(Tensor(value, dtype).numpy())


def innermost(values: Sequence[Any]) -> Builder | None:
    """Return the builder of the innermost Func among the values, None when no value is symbolic."""
    builders = [value.builder for value in values if isinstance(value, Sym)]
    return max(builders, key=lambda each: each.depth, default=None)


def restored(scope: Mapping[Var, Sym], builder: Builder, atom: Atom) -> Sym:
    """Return the Sym that an atom of a replayed Func became."""
    if isinstance(atom, Const):
        return Sym(builder, atom)
    found = scope.get(atom)
    if found is None:
        raise InternalError(f"%{atom.name} was not replayed")
    return found


def _unique(name: str, taken: Container[str]) -> str:
    if name not in taken:
        return name
    return next(each for each in (f"{name}.{count}" for count in itertools.count(1)) if each not in taken)
