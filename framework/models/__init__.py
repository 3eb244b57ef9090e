"""Models, by name."""

from __future__ import annotations

from typing import Any, cast

from davinci_sim.errors import unknown
from framework.models import bert, lenet5, resnet50
from framework.models.zoo import Step, Zoo, changed

MODELS: dict[str, Zoo] = {
    name: cast("Zoo", module)
    for name, module in {"bert": bert, "lenet5": lenet5, "resnet50": resnet50}.items()
}
"""Each module is a Zoo, and has SMOKE, a small input or configuration for tests."""


def model(name: str) -> Zoo:
    """Return the module of a model."""
    if name not in MODELS:
        raise unknown("model", name, tuple(MODELS))
    return MODELS[name]


def config(name: str, called: str = "") -> Any:
    """Return a configuration of a model by its name; without one the usual one.

    Raises:
        UnknownName: there is no such model, or no such configuration of it.
    """
    known = model(name).CONFIGS
    if called and called not in known:
        raise unknown(f"configuration of {name}", called, tuple(known))
    return known[called or next(iter(known))]


__all__ = ["MODELS", "Step", "Zoo", "bert", "changed", "config", "lenet5", "model", "resnet50"]
