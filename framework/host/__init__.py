"""Funcs that run fast on the host: Python source over NumPy, machine code for hot loops of scalars."""

from framework.host.compile import HostFunction, compile_host
from framework.host.depth import EndlessRecursion

__all__ = ["EndlessRecursion", "HostFunction", "compile_host"]
