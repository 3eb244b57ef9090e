"""Small programs of the language that is compiled; each runs as plain Python, too."""

from __future__ import annotations

import linecache

import numpy as np

from framework import Tensor

X = Tensor(np.array([1.0, -2.0, 3.0], np.float64))
M = Tensor(np.arange(6.0).reshape(2, 3))
PROGRAMS = []


def case(*args):
    """Enter a program with its arguments."""

    def enter(function):
        PROGRAMS.append((function, args))
        return function

    return enter


COUNT = iter(range(1_000_000_000))


def made(source, around):
    """Return the function of a source, which can be read back as that of a file can."""
    file = f"<program {next(COUNT)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names = dict(around)
    exec(compile(source, file, "exec"), names)
    return names["program"]
