"""Small programs of the language that is compiled; each runs as plain Python, too."""

from __future__ import annotations

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
