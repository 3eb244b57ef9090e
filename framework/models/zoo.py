"""What every model offers to who trains, compiles or times it by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from framework.ir.nodes import Func


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
        """Return the network in use, of a batch; weights have no numbers."""
        ...
