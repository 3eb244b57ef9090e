"""What one compilation remembers: the Funcs that it has made, and the calls that are under way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from framework.frontend.cells import CellKeys
from framework.frontend.templates import Taker, Template, leaves_of
from framework.frontend.values import Closure, Site
from framework.ir.builder import Builder
from framework.ir.control import Signature
from framework.ir.lines import Place
from framework.ir.nodes import Func, SourceLine
from framework.ir.types import Type
from framework.tensor import Parameter

Body = Callable[[Builder, Any], Any]
Value = tuple[Sequence[Any], dict[str, Any], Any]
"""What goes into a call: arguments, keywords, the function."""


class Piece(NamedTuple):
    """A piece of source that becomes a Func: its name, what tells it from others, and what it does."""

    name: str
    key: Hashable
    body: Body
    arguments: Sequence[str] = ()


class Entry(NamedTuple):
    """A Func made for a template: its results' template, and which Parameters follow its arguments.

    A number in `parameters` is the place of a Parameter in the Cells that go in; `renewed` are those whose
    new values follow the Func's results. `within` are the calls under way that the Func calls again, so that
    it has its meaning inside of them only.
    """

    func: Func
    result: Template
    parameters: tuple[int | Parameter, ...]
    ends: bool
    within: frozenset[Activation]
    renewed: tuple[int | Parameter, ...] = ()


class Given(NamedTuple):
    """What goes into a call: a template, its leaves and their names, the Parameters of the Cells in it."""

    template: Template
    leaves: list[Any]
    paths: list[str]
    parameters: list[Parameter]


class Activation:
    """A Func that is being made; calls of it find it here."""

    def __init__(self, piece: Piece, template: Template, called_on: SourceLine | None = None) -> None:
        """Start without knowing a result."""
        self.called_on = called_on
        self.circle: Sequence[Place] = ()
        """The calls from this one to itself, when none has come to a result."""
        self.piece = piece
        self.template = template
        self.name = piece.name
        self.is_recursive = False
        self.result: Template | None = None
        self.parameters: tuple[int | Parameter, ...] = ()
        self.types: list[Type] = []
        self.within: set[Activation] = set()
        self.memo: dict[Hashable, Entry] = {}

    def signature(self) -> Signature:
        """Return the types of the parameters and of the results, once these are known."""
        results = () if self.result is None else leaves_of(self.result)
        return tuple(self.types), tuple(leaf.type for leaf in results)


class Calls:
    """The Funcs of one compilation."""

    def __init__(self) -> None:
        """Start without Funcs."""
        self.memo: dict[Hashable, Entry] = {}
        self.stack: list[Activation] = []
        self.cells = CellKeys()
        self.closures: dict[int, tuple[Any, Closure]] = {}
        self.traced: dict[Hashable, Any] = {}
        self.numbers = itertools.count(1)
        self.sites: dict[Hashable, Site] = {}

    def site(self, key: Hashable) -> Site:
        """Return what is known of the functions of run time that come from a place."""
        return self.sites.get(key) or Site(key)

    def known(self) -> dict[str, Signature]:
        """Return the types of the Funcs under way that are called inside of themselves."""
        return {each.name: each.signature() for each in self.stack if each.result is not None}

    def apart(self) -> Calls:
        """Return the same Funcs without the calls under way: for what is transformed by itself."""
        found = Calls()
        found.memo, found.cells, found.closures = self.memo, self.cells, self.closures
        found.traced, found.numbers, found.sites = self.traced, self.numbers, self.sites
        return found

    def chain(self, builder: Builder, first: Activation | None = None) -> list[Place]:
        """Return the calls under way from one of them on, each with the line that it has got to."""
        start = 0 if first is None else self.stack.index(first)
        lines = [*(each.called_on for each in self.stack[start + 1 :]), builder.source]
        return [Place(each.piece.name, line) for each, line in zip(self.stack[start:], lines, strict=True)]

    def found(self, key: Hashable) -> Entry | None:
        """Return the Func for a key, also one that has its meaning inside of a call under way."""
        for each in (self.memo, *(activation.memo for activation in reversed(self.stack))):
            if key in each:
                self.note(each[key].within)
                return each[key]
        return None

    def keep(self, key: Hashable, entry: Entry) -> None:
        """Remember a Func as long as it has its meaning."""
        inside = [each for each in self.stack if each in entry.within]
        (inside[-1].memo if inside else self.memo)[key] = entry

    def note(self, within: frozenset[Activation]) -> None:
        """Note in all calls under way inside of others that they call these again."""
        for each in within:
            at = self.stack.index(each)
            for inner in self.stack[at + 1 :]:
                inner.within.add(each)

    def given(self, piece: Piece, value: Value) -> Given:
        """Take apart what goes into a call."""
        parameters: dict[int, tuple[int, Parameter]] = {}

        def cell_key(cell: Any) -> Hashable:
            key, own = self.cells.of(cell)
            for each in own:
                parameters.setdefault(id(each), (len(parameters), each))
            return (key, tuple(parameters[id(each)][0] for each in own))

        taker = Taker(True, cell_key)
        template = taker.take_call(value[0], value[1], value[2], piece.arguments)
        return Given(template, taker.leaves, taker.paths, [each for _, each in parameters.values()])


def calls_of(builder: Builder) -> Calls:
    """Return the Funcs of the compilation that a builder belongs to."""
    if builder.calls is None:
        builder.calls = Calls()
    found: Calls = builder.calls
    return found
