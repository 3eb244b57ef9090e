"""Funcs that run fast on the host: Python source over NumPy, machine code for hot loops of scalars."""

from framework.host.compile import HostFunction, compile_host
from framework.host.errors import EndlessRecursion

__all__ = ["EndlessRecursion", "HostFunction", "compile_host"]
