"""The same bits and the same cycles, whatever the hash seed and the number of threads."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TRAINING = """
import hashlib
from itertools import islice
import numpy as np
from davinci_sim.chip import Chip
from framework import data, nn
from framework.dtypes import dtype
from framework.graph_engine import DeviceRunner
from framework.ir import TensorType
from framework.models import lenet5
from framework.optim import Momentum
from framework.train import Batch, initial_state, training_step

net = lenet5.build()
optimizer = Momentum(net.trainable_params(), 0.05, 0.9)
types = TensorType((8, 1, 32, 32), dtype("float32")), TensorType((8,), dtype("int32"))
func = training_step(net, nn.SoftmaxCrossEntropyWithLogits(), optimizer, *types)
runner = DeviceRunner(func, initial_state(net, optimizer), Chip(threads=THREADS))
digits = data.dataset("digits", 8, 0).train.epoch(0)
losses, logits = runner.run([Batch(x, y, 0.01) for x, y in islice(digits, 3)])
digest = hashlib.sha256(losses.tobytes() + logits.tobytes())
for name, array in sorted(runner.state().items()):
    digest.update(name.encode() + array.tobytes())
for task in runner.session.profile():
    digest.update(f"{task.name} {task.cycles}".encode())
print(digest.hexdigest())
"""


def digest(hash_seed: int, threads: int) -> str:
    """Return the digest of losses, weights and cycles of three steps in a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    code = TRAINING.replace("THREADS", str(threads))
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_hash_seed_and_threads_change_no_bit_of_a_training_and_no_cycle():
    """Three steps in two processes have one digest."""
    assert digest(0, 1) == digest(4242, 2)
