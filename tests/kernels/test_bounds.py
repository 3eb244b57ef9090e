"""What no launch can beat is known in closed form, before there is a compiler or a simulator."""

import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BOUNDS_OF_ALL = """
import sys
import kernels
from davinci_sim.platforms import platform
from kernels.bounds import bounds
from kernels.samples import shapes

chip, found = platform("ascend910a"), []
for kernel in kernels.load().values():
    found.append(bounds(kernel, next(shapes(kernel)), chip).cycles)
heavy = {"numba", "llvmlite", "scipy", "simpy", "rich", "matplotlib"} & set(sys.modules)
print(len(found), min(found) >= 0, *heavy)
"""
WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None  # importing it fails
from experiments.cli.main import cli
cli.main(["kernel", *sys.argv[1:], "matmul", "--shape", "m=64,k=96,n=80"])
"""


def printed(code: str, *arguments: str) -> list[str]:
    """Return the lines that a new process prints, however it ends; its errors go to a terminal."""
    terminal, screen = pty.openpty()
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=screen, text=True) as process:
        out = process.communicate()[0].splitlines()
    os.close(screen)
    return out or os.read(terminal, 4096).decode().splitlines()


def test_the_bounds_of_every_kernel_are_known_without_a_compiler():
    """Numba takes longer to import than a bound may take; a family of kernels loads without it."""
    count, is_positive, *heavy = printed(BOUNDS_OF_ALL)[0].split()
    assert int(count) > 100
    assert is_positive == "True"
    assert heavy == []


def test_the_bound_is_printed_before_a_compiler_is_asked_for():
    """Where there is none, it is the first that is printed; `run` tells a person who waits, not a file."""
    for command in ("run", "profile"):
        lines = printed(WITHOUT_NUMBA, command)
        assert lines[1].startswith("no faster than "), command
