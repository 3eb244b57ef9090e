"""What every model offers to who trains, compiles or times it by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple, Protocol

from davinci_sim.errors import DavinciError, unknown
from framework.ir.nodes import Func

NONE = "none"


class Step(NamedTuple):
    """A step of a network, and the names of what the host gives it each time; the device keeps the rest."""

    func: Func
    feeds: tuple[str, ...]

    @staticmethod
    def of(func: Func, feeds: int) -> Step:
        """Return a step whose first parameters are given each time."""
        return Step(func, tuple(param.name for param in func.params[:feeds]))

    @property
    def held(self) -> tuple[str, ...]:
        """Names of weights and of what the optimiser keeps."""
        return tuple(param.name for param in self.func.params[len(self.feeds) :])


class Zoo(Protocol):
    """The module of a model.

    Attributes:
        Config: a frozen dataclass of sizes and precision.
        CONFIGS: configurations by name, the usual one first.
        RECIPE: how to train; `batch_size` is what its steps take.
    """

    Config: Any
    CONFIGS: Mapping[str, Any]
    RECIPE: Any

    def build(self, config: Any = None) -> Any:
        """Return the network."""
        ...

    def training(self, config: Any, batch: int) -> Step:
        """Return a training step of a batch: network, loss, gradients, optimiser; weights have no numbers."""
        ...

    def inference(self, config: Any, batch: int) -> Step:
        """Return the network in use, of a batch; its weights are constants, or have no numbers."""
        ...


def changed(config: Any, changes: Mapping[str, str]) -> Any:
    """Return a configuration with some sizes given as text.

    Raises:
        UnknownName: it has no such size.
        DavinciError: a value is of another kind than before.
    """
    known = {each.name: getattr(config, each.name) for each in fields(config)}
    found = {}
    for name, text in changes.items():
        if name not in known:
            raise unknown(f"size of {type(config).__module__.rpartition('.')[2]}", name, known)
        found[name] = _value(name, text, known[name])
    return replace(config, **found)


def _value(name: str, text: str, before: Any) -> Any:
    """Return a text as a value of the same kind as before; dashes part the numbers of a tuple."""
    if before is None or isinstance(before, str):
        return None if text == NONE else text
    kind = "whole numbers like 3-4-6-3" if isinstance(before, tuple) else _KINDS[type(before)]
    try:
        value = tuple(map(int, text.split("-"))) if isinstance(before, tuple) else type(before)(text)
    except ValueError:
        raise DavinciError(f"{name}={text}: it must be {kind}; now it is {before}") from None
    return value


_KINDS = {int: "a whole number", float: "a number"}
