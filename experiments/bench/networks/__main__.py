"""`python -m experiments.bench.networks NAME`: print how long a new process compiles a training step.

What is timed is the processor's time for the front end, the differentiation and the passes, of a network that
was made before; neither imports nor the making of something that runs.
"""

from __future__ import annotations

import sys
import time

from experiments.bench.networks.training import TRAININGS

if __name__ == "__main__":
    training = TRAININGS[sys.argv[1]]
    step, batch = training.step(), training.batch()
    start = time.process_time()
    step.optimized(batch, {})
    print(time.process_time() - start)
