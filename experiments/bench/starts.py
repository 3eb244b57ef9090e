"""How long one waits for a process: imports, help, compilation on first use, machine code from the disk."""

from __future__ import annotations

import functools
import json
import statistics
import tempfile
import time

from experiments.bench.registry import REPEATS, benchmark, median_seconds, python, seconds

_WARM = {"PYTHONDONTWRITEBYTECODE": ""}
"""Byte code is kept from the first process on, as for every user, however the benchmarks are started."""
_CLI = ("-m", "experiments.cli.main")
_PROBLEM = ("matmul", "--shape", "m=1024,k=1024,n=1024")
_MATMUL = (*_CLI, "kernel", "run", *_PROBLEM)
_FIRST_BOUND = """
import sys, time
from experiments.cli import problem, profile
from experiments.cli.main import kernel

def begin(*given):
    global begun
    begun = time.monotonic()
    return problem.problem_of(*given)

def show(found):
    problem.show_bounds(found)
    print(begun, time.monotonic())
    sys.exit()

profile.problem_of, profile.show_bounds = begin, show
kernel.main(sys.argv[1:])
"""
_EACH_KERNEL = """
import gc, json, time
import kernels
from kernels.compiled import ENGINE, compile_one
found = {}
for name in dict.fromkeys([ENGINE, "matmul", *kernels.load()]):
    start = time.perf_counter()
    compile_one(name)
    found[name] = time.perf_counter() - start
    gc.freeze()  # a process that compiles one kernel does not go over the garbage of a hundred others
print(json.dumps(found))
"""


@benchmark("s", at_most=1.0)
def import_framework_warm() -> float:
    """Time a process that imports framework."""
    return median_seconds(python("-c", "import framework", **_WARM))


@benchmark("s")
def import_framework_cold() -> float:
    """Time the same when no byte code is there yet, neither ours nor NumPy's."""
    with tempfile.TemporaryDirectory() as empty:
        return seconds(python("-c", "import framework", PYTHONPYCACHEPREFIX=empty))


@benchmark("s", at_most=0.2)
def davinci_help_warm() -> float:
    """Time `davinci --help`."""
    return median_seconds(python(*_CLI, "--help", **_WARM))


@benchmark("s")
def davinci_help_cold() -> float:
    """Time the same when no byte code is there yet."""
    with tempfile.TemporaryDirectory() as empty:
        return seconds(python(*_CLI, "--help", PYTHONPYCACHEPREFIX=empty))


@benchmark("s", at_most=0.1)
def bound_of_a_command() -> float:
    """Time `davinci kernel profile matmul` from the command's first line to the bound on the screen."""
    return statistics.median(_bound_seconds()[0] for _ in range(REPEATS))


@benchmark("s", at_most=0.3)
def bound_of_a_process() -> float:
    """Time the same from the start of the process: Python, the command line and NumPy included."""
    return statistics.median(_bound_seconds()[1] for _ in range(REPEATS))


def _bound_seconds() -> tuple[float, float]:
    """Return how long a bound takes to be printed after a command has begun, and after its process has."""
    start = time.monotonic()
    begun, printed = map(float, python("-c", _FIRST_BOUND, "profile", *_PROBLEM, **_WARM)().split()[-2:])
    return printed - begun, printed - start


@benchmark("s", at_most=60.0)
def first_use() -> float:
    """Time `davinci kernel run matmul` with an empty cache: engine, executor and kernel are compiled."""
    with tempfile.TemporaryDirectory() as empty:
        return seconds(python(*_MATMUL, NUMBA_CACHE_DIR=empty))


@benchmark("s", at_most=0.5)
def further_kernel() -> float:
    """Time the compilation of one more kernel's emission, from an empty cache: median of all kernels."""
    return sorted(_kernel_seconds().values())[len(_kernel_seconds()) // 2]


@benchmark("s", at_most=0.5)
def slowest_further_kernel() -> float:
    """Time the same of the kernel that takes longest."""
    return max(_kernel_seconds().values())


@functools.cache
def _kernel_seconds() -> dict[str, float]:
    """Return how long each kernel takes to compile after engine, language and matmul, in one process."""
    with tempfile.TemporaryDirectory() as empty:
        found: dict[str, float] = json.loads(python("-c", _EACH_KERNEL, NUMBA_CACHE_DIR=empty)())
    return dict(list(found.items())[2:])


@benchmark("s", at_most=2.0)
def second_process() -> float:
    """Time `davinci kernel run matmul` of 1024 cubed, machine code from the disk, imports included."""
    return median_seconds(python(*_MATMUL, **_WARM), 3)
