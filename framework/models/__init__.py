"""Models, by name."""

from __future__ import annotations

from types import ModuleType

from davinci_sim.errors import unknown
from framework.models import bert, lenet5, resnet50

MODELS: dict[str, ModuleType] = {"bert": bert, "lenet5": lenet5, "resnet50": resnet50}
"""Each module has Config, build(config), RECIPE and SMOKE, the shape of a small input."""


def model(name: str) -> ModuleType:
    """Return the module of a model."""
    if name not in MODELS:
        raise unknown("model", name, tuple(MODELS))
    return MODELS[name]


__all__ = ["MODELS", "bert", "lenet5", "model", "resnet50"]
