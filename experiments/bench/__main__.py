"""Run the benchmarks from the shell."""

import sys

from experiments.bench.command import bench
from experiments.cli.main import exit_code

if __name__ == "__main__":
    sys.exit(exit_code(lambda: bench.main(standalone_mode=False)))
