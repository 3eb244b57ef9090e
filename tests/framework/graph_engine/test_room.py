"""A graph that does not fit is refused: before it is optimised if that is certain, else when it is loaded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from davinci_sim.chip import Chip
from davinci_sim.errors import OutOfSpace
from davinci_sim.platforms import platform
from framework import Tensor, models, nn, ops
from framework.frontend.trace import trace
from framework.graph_engine import Options, Session
from framework.graph_engine.control import session as control
from framework.graph_engine.service.fusion import gain
from framework.graph_engine.service.least import alive_together, held
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import split
from framework.ir.types import parse_type
from framework.optim import Momentum
from framework.passes import run
from framework.train import training_step
from tests.framework.graph_engine.test_fusion import CASES, func_of

P = platform("ascend910a")


def small(gm_bytes: int) -> Chip:
    """Return a chip with little memory."""
    return Chip(P.with_figures("small", gm_bytes=replace(P.figure("gm_bytes"), value=gm_bytes)), data=False)


def refusal(func, gm_bytes, **options):
    """Return what is said of a Func on a chip with little memory, of which nothing is taken."""
    chip = small(gm_bytes)
    with pytest.raises(OutOfSpace) as caught:
        Session(func, chip, options=Options(**options))
    assert chip.allocated_bytes == 0
    return str(caught.value)


def product(x, w):
    """Return relu(x @ w)."""
    return ops.relu(ops.matmul(x, w))


PRODUCT = run(trace(product, [Tensor(np.ones(shape, np.float16)) for shape in ((20, 40), (40, 30))], {}).func)


class Net(nn.Cell):
    """Two dense layers."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Dense(64, 96, seed=1)
        self.out = nn.Dense(96, 10, seed=2)

    def construct(self, x):
        return self.out(ops.tanh(self.hidden(x)))


def training(batch):
    """Return a training step."""
    net = Net().to_float("float16")
    types = parse_type(f"float32[{batch}, 64]"), parse_type(f"int32[{batch}]")
    return training_step(
        net, nn.SoftmaxCrossEntropyWithLogits(), Momentum(net.trainable_params(), 0.1), *types
    )


def test_what_does_not_fit_is_told_by_what_is_alive_where_that_is_most():
    """The task is named, and who makes each tensor."""
    assert refusal(PRODUCT, 4096) == (
        "graph product needs 8,704 bytes of device memory, 4,096 are available\n"
        "  variables and constants: 0 bytes\n"
        "  workspace: 8,704 bytes, 8,704 alive at trans_data.w.NZ\n"
        "               3,072  %x.NZ: float16[20, 40] @NZ by trans_data.x.NZ\n"
        "               3,072  %w.NZ: float16[40, 30] @NZ by trans_data.w.NZ\n"
        "               2,400  %w: float16[40, 30] @ND\n"
        "  next: use a smaller batch"
    )


def test_the_largest_variables_are_told_with_their_total():
    """And what the rest takes; layers are told by their lines."""
    told = refusal(training(512), 380_000, fusion=False, streams=False).splitlines()
    assert told[:8] == [
        "graph train_Net needs 459,776 bytes of device memory, 380,000 are available",
        "  variables and constants: 65,024 bytes",
        "              24,576  %hidden.weight: float32[96, 64] @NZ",
        "              24,576  %moments.hidden.weight: float32[96, 64] @NZ",
        "               6,144  %out.weight: float32[10, 96] @NZ",
        "               6,144  %moments.out.weight: float32[10, 96] @NZ",
        "                 384  %hidden.bias: float32[96] @ND",
        "                 474  6 more",
    ]
    assert told[8] == "  workspace: 394,752 bytes, 394,752 alive at matmul.16"
    assert told[9].startswith("              98,304  %27: float16[512, 96] @ND by bias_add.3, layers.py:")
    assert told[-1] == (
        "  next: use a smaller batch, or recompute() of the Cells whose values are kept for the gradient"
    )


@pytest.mark.parametrize(
    ("batch", "gm_bytes", "options", "step"),
    [
        (
            512,
            50_000,
            {},
            "no batch is small enough: take a smaller network, or an optimizer that keeps less",
        ),
        (64, 150_000, {"reuse": False}, "let values share memory: Options(reuse=True)"),
        (1, 70_000, {}, "use a smaller batch"),
    ],
)
def test_the_next_step_is_one_that_helps(batch, gm_bytes, options, step):
    """Weights do not shrink with the batch, and a gradient keeps little of a small one."""
    assert refusal(training(batch), gm_bytes, **options).splitlines()[-1] == f"  next: {step}"


def test_a_batch_far_too_large_is_refused_before_anything_is_tried(monkeypatch):
    """What has to be alive whatever is fused is told; no fusion is timed, and no format is chosen."""
    asked = []
    monkeypatch.setattr(gain, "_found", asked.append)
    monkeypatch.setattr(control, "optimize", lambda *given: asked.append(given))
    told = refusal(training(1 << 16), 20_000_000).splitlines()
    assert not asked
    assert told[:2] == [
        "graph train_Net needs 24,176,848 bytes of device memory at the least, 20,000,000 are available",
        "  variables: 57,680 bytes",
    ]
    assert told[8] == "  alive at softmax_cross_entropy_grad.12 whatever is fused: 24,119,168 bytes"
    assert told[9].startswith("          12,582,912  %28: float16[65536, 96] @ND by tanh.4, test_room.py:")


def check_bound(func, names=()):
    """Demand that a graph needs at least what is told before it is optimised; return both."""
    session = Session(func, Chip(P, data=False), dict.fromkeys(names))
    graph = split(prepare(func, held=dict.fromkeys(names)), P)
    least, compiled = alive_together(graph).total, session.compiled
    assert held(graph).total <= compiled.held_bytes
    assert least <= compiled.memory.live_bytes
    return least, compiled.memory.live_bytes


@pytest.mark.parametrize("name", CASES)
def test_no_fusion_gets_below_the_bound(name):
    """Each pattern makes something needless; what it makes needless is not counted."""
    function, arrays, _ = CASES[name]
    check_bound(func_of(function, *arrays))


def test_most_of_what_a_gradient_keeps_is_known_before():
    """The bound of a training step is near what it needs in the end."""
    least, live = check_bound(training(512))
    assert least > 0.5 * live


@pytest.mark.slow
@pytest.mark.parametrize(("model", "batch"), [("resnet50", 32), ("bert", 96)])
def test_of_real_networks_nearly_everything_is_known_before(model, batch):
    """Their training steps, with all fusions: 0.94 and 0.98 of what is alive in the end."""
    step = models.model(model).training(models.config(model), batch=batch)
    least, live = check_bound(step.func, step.held)
    assert least > 0.8 * live
