"""What all optimisers are: the Parameters that they update, with which numbers, and the state they keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from davinci_sim.errors import DavinciError
from framework.optim.schedule import Schedule, constant
from framework.tensor import Parameter

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Group:
    """Parameters with a weight decay of their own."""

    params: Sequence[Parameter]
    weight_decay: float


class Step(NamedTuple):
    """What the update of one weight works on: symbols, and the weight decay, which is known."""

    weight: Any
    gradient: Any
    state: tuple[Any, ...]
    """One tensor of the weight's type per slot of the optimiser."""
    shared: Mapping[str, Any]
    """Numbers that all weights share, as they are in this step."""
    learning_rate: Any
    weight_decay: float


Params = Sequence[Parameter] | Sequence[Group]


class Optimizer(ABC):
    """Updates Parameters; subclasses say which state they keep, and emit the update of one weight.

    The learning rate is a number or a schedule (see `framework.optim.schedule`). Parameters may come in
    groups, each with a weight decay of its own.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the tensors that are kept for every weight, in front of the weight's own."""

    def __init__(self, params: Params, learning_rate: float | Schedule, weight_decay: float = 0.0) -> None:
        """Take the Parameters to update."""
        groups = [each if isinstance(each, Group) else Group((each,), weight_decay) for each in params]
        self.params = tuple(each for group in groups for each in group.params)
        name = type(self).__name__
        if not self.params:
            raise DavinciError(f"{name} has no parameters to update; pass net.trainable_params()")
        for group in groups:
            if not group.weight_decay >= 0:
                raise DavinciError(f"{name}: weight_decay is {group.weight_decay}, it must be at least 0")
        self.decays = {id(each): group.weight_decay for group in groups for each in group.params}
        seen: set[int] = set()
        for each in self.params:
            if id(each) in seen:
                raise DavinciError(f"{name}: {each!r} is in two groups; each Parameter is updated once")
            seen.add(id(each))
        self.schedule = learning_rate if isinstance(learning_rate, Schedule) else constant(learning_rate)

    @property
    def shared(self) -> Mapping[str, float]:
        """Return the numbers that all weights share, by name, as they are before the first step."""
        return {}

    def advance(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """Emit the shared numbers of this step from those of the one before."""
        return dict(shared)

    @abstractmethod
    def update(self, step: Step) -> tuple[Any, ...]:
        """Emit the update of one weight; return its new value and then its new state, slot by slot."""

    def state_names(self, name: str) -> tuple[str, ...]:
        """Return the names of the state of a weight."""
        return tuple(f"{slot}.{name}" for slot in self.slots)

    def state(self) -> dict[str, Array]:
        """Return the first state by name: zeros for every weight, slot by slot, and the shared numbers."""
        found = {
            f"{slot}.{each.name}": np.zeros(each.shape, each.dtype.numpy)  # takes memory where it is written
            for slot in self.slots
            for each in self.params
        }
        return found | {name: np.asarray(value, np.float32) for name, value in self.shared.items()}


def without_decay_of_vectors(params: Sequence[Parameter], weight_decay: float) -> tuple[Group, Group]:
    """Return groups in which matrices and filters decay; gains and offsets, vectors, do not.

    >>> matrix, vector = Parameter(np.ones((2, 2))), Parameter(np.ones(2))
    >>> groups = without_decay_of_vectors([matrix, vector], 0.01)
    >>> [(group.weight_decay, len(group.params)) for group in groups]
    [(0.01, 1), (0.0, 1)]
    """
    wide = tuple(each for each in params if len(each.shape) > 1)
    rest = tuple(each for each in params if len(each.shape) <= 1)
    return Group(wide, weight_decay), Group(rest, 0.0)


def check_rates(name: str, rates: Mapping[str, float]) -> None:
    """Refuse rates that are not at least 0 and below 1."""
    for key, value in _wrong(rates):
        raise DavinciError(f"{name}: {key} is {value}, it must be at least 0 and below 1")


def _wrong(rates: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    return ((key, value) for key, value in rates.items() if not 0 <= value < 1)
