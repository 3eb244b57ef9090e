"""Plain Python as the oracle: complex numbers carry a derivative through a program that knows nothing of it.

f(x + ih) = f(x) + ih f'(x) for a small h, and h may be so small that nothing is rounded: where a program is
analytic on the way that it takes, its derivative is the imaginary part over h, exact to the last digits.
"""

from __future__ import annotations

import cmath
import functools
from types import SimpleNamespace

STEP = 1e-30


@functools.total_ordering
class Stepped:
    """A complex number that compares as its real part does, so that programs take the way of their value."""

    def __init__(self, value):
        """Wrap a number."""
        self.value = complex(value)

    def __add__(self, other):
        return Stepped(self.value + bare(other))

    def __sub__(self, other):
        return Stepped(self.value - bare(other))

    def __rsub__(self, other):
        return Stepped(other - self.value)

    def __mul__(self, other):
        return Stepped(self.value * bare(other))

    def __truediv__(self, other):
        return Stepped(self.value / bare(other))

    def __rtruediv__(self, other):
        return Stepped(other / self.value)

    def __pow__(self, other):
        return Stepped(self.value ** bare(other))

    def __neg__(self):
        return Stepped(-self.value)

    def __abs__(self):
        return -self if self < 0 else self

    def __lt__(self, other):
        return self.value.real < bare(other).real

    def __eq__(self, other):
        return self.value.real == bare(other).real

    def __hash__(self):
        return hash(self.value.real)

    __radd__, __rmul__ = __add__, __mul__


def bare(number):
    """Return a number as Python's own."""
    return number.value if isinstance(number, Stepped) else number


def analytic(name):
    """Return a function of cmath for all kinds of numbers; of a float it is one."""
    function = getattr(cmath, name)
    return lambda x: Stepped(function(x.value)) if isinstance(x, Stepped) else function(x).real


PLAIN = SimpleNamespace(**{name: analytic(name) for name in ("sin", "cos", "tanh", "exp", "sqrt", "log")})
"""What programs find as `ops` when they run as plain Python."""


def slopes(function, floats, *rest):
    """Return the derivatives of function(*floats, *rest) by each of the floats."""
    found = []
    for moving in range(len(floats)):
        args = [Stepped(x + 1j * STEP * (at == moving)) for at, x in enumerate(floats)]
        found.append(complex(bare(function(*args, *rest))).imag / STEP)
    return found


def curvature(function, floats, *rest, step=1e-5):
    """Return the second derivative by the first of the floats: the difference of two exact slopes."""
    ends = [slopes(function, [floats[0] + each, *floats[1:]], *rest)[0] for each in (step, -step)]
    return (ends[0] - ends[1]) / (2 * step)
