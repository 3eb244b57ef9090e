"""The training steps that are compiled to see how long that takes, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from experiments.bench.networks.layers import WithLoss, data
from experiments.bench.networks.mlp import WIDTHS, Mlp
from experiments.bench.networks.resnet import ResNet50
from experiments.bench.networks.transformer import BERT_LARGE, Encoder, Sizes
from framework import Tensor, nn, value_and_grad
from framework.autodiff.grad import Gradient

BATCH = 32
SEQUENCES = 8
TOKENS = 128
SMALL = Sizes(layers=24, width=128, heads=4)


@dataclass(frozen=True)
class Training:
    """A network and the shape of a batch; the gradients of all weights are wanted."""

    network: Callable[[], nn.Cell]
    inputs: tuple[int, ...]
    dtype: str = "float32"

    def step(self) -> Gradient:
        """Return the function of the loss and its gradients, of a new network: nothing of it is compiled."""
        loss = WithLoss(self.network())
        return value_and_grad(loss, position=None, weights=loss.trainable_params())

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return a batch and its labels."""
        return data(*self.inputs, dtype=self.dtype), data(self.inputs[0], dtype="int32")


def _encoder(sizes: Sizes) -> Training:
    return Training(lambda: Encoder(sizes), (SEQUENCES, TOKENS), "int32")


TRAININGS: dict[str, Training] = {
    "mlp": Training(Mlp, (BATCH, WIDTHS[0])),
    "resnet50": Training(ResNet50, (BATCH, 3, 224, 224)),
    "bert_large": _encoder(BERT_LARGE),
    "bert_large_96_layers": _encoder(BERT_LARGE._replace(layers=96)),
    "transformer_24_layers": _encoder(SMALL),
    "transformer_96_layers": _encoder(SMALL._replace(layers=96)),
}


def compiled(name: str) -> Any:
    """Return what a training step is compiled from: traced, differentiated and after all passes."""
    training = TRAININGS[name]
    return training.step().optimized(training.batch(), {})
