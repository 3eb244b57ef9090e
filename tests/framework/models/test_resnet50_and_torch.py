"""ResNet-50 beside PyTorch, where that is installed: loss, gradients of all weights and moving averages."""

from __future__ import annotations

import numpy as np
import pytest

from framework.dtypes import float32, int32
from framework.ir import TensorType
from framework.models import resnet50
from framework.optim import Momentum
from framework.train.runner import Batch, HostRunner
from framework.train.step import initial_state, training_step

torch = pytest.importorskip(
    "torch", reason="PyTorch is compared where it is installed: pip install -e .[compare]"
)
functional = torch.nn.functional


class TorchResNet:
    """The same network in PyTorch's functions, over weights by our names."""

    def __init__(self, state):
        """Take the weights; those that are trained get gradients."""
        self.weights = {name: torch.tensor(each) for name, each in state.items()}
        self.trained = [name for name in self.weights if "moving" not in name]
        for name in self.trained:
            self.weights[name].requires_grad_()

    def normalised(self, name, x):
        parts = ("moving_mean", "moving_variance", "gamma", "beta")
        numbers = [self.weights[f"{name}.{part}"] for part in parts]
        return functional.batch_norm(x, *numbers, training=True, momentum=0.1, eps=1e-5)

    def conv_bn(self, name, x, stride=1):
        weight = self.weights[f"{name}.conv.weight"]
        y = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return self.normalised(f"{name}.bn", y)

    def block(self, name, x, stride):
        y = torch.relu(self.conv_bn(f"{name}.reduce", x))
        y = torch.relu(self.conv_bn(f"{name}.filter", y, stride))
        y = self.conv_bn(f"{name}.expand", y)
        has_shortcut = f"{name}.shortcut.conv.weight" in self.weights
        return torch.relu(y + (self.conv_bn(f"{name}.shortcut", x, stride) if has_shortcut else x))

    def loss(self, config, x, labels):
        x = functional.max_pool2d(torch.relu(self.conv_bn("stem", x, 2)), 3, 2, 1)
        blocks = [(stage, block) for stage, count in enumerate(config.stages) for block in range(count)]
        for number, (stage, block) in enumerate(blocks):
            x = self.block(f"blocks.{number}", x, 2 if stage and not block else 1)
        logits = functional.linear(x.mean((2, 3)), self.weights["fc.weight"], self.weights["fc.bias"])
        # PyTorch shares the smoothing among all classes, the label's too
        classes = config.classes
        smoothing = resnet50.RECIPE.label_smoothing * classes / (classes - 1)
        return functional.cross_entropy(logits, labels, label_smoothing=smoothing)


@pytest.mark.parametrize(("stages", "edge", "bound"), [((1, 1), 32, 2.0**-12), ((3, 4, 6, 3), 64, 2.0**-4)])
def test_a_step_in_float32_is_that_of_pytorch(stages, edge, bound):
    """Gradients of the deep one have lost digits on both sides: a rounding grows from layer to layer."""
    config = resnet50.Config(classes=10, stages=stages, width=16, compute_dtype=None)
    net = resnet50.build(config)
    optimizer = Momentum(net.trainable_params(), 0.05)
    types = TensorType((8, 3, edge, edge), float32), TensorType((8,), int32)
    func = training_step(net, resnet50.RECIPE.loss(config), optimizer, *types)
    state = initial_state(net, optimizer)
    draw = np.random.default_rng(0)
    x = draw.normal(size=types[0].shape).astype(np.float32)
    labels = draw.integers(0, 10, 8).astype(np.int32)
    ours = HostRunner(func, state)
    loss = ours.run([Batch(x, labels, 0.05)])[0][0]

    theirs = TorchResNet({name: each for name, each in state.items() if not name.startswith("moments")})
    expected = theirs.loss(config, torch.tensor(x), torch.tensor(labels.astype(np.int64)))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-4)
    found = ours.state()
    for name, weight in theirs.weights.items():
        is_trained = name in theirs.trained
        wanted = weight.grad.numpy() if is_trained else weight.numpy()
        got = found[f"moments.{name}"] if is_trained else found[name]
        assert np.linalg.norm(got - wanted) <= bound * np.linalg.norm(wanted), name
