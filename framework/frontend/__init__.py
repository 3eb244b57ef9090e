"""From Python source to the IR."""

from framework.frontend.source import CompileError
from framework.frontend.trace import Traced, apply, trace
from framework.frontend.transform import Compiled, Transform

__all__ = ["CompileError", "Compiled", "Traced", "Transform", "apply", "trace"]
