"""Pictures of Funcs: Graphviz text, and PNG or SVG files drawn by matplotlib."""

from framework.ir.picture.dot import to_dot
from framework.ir.picture.draw import draw

__all__ = ["draw", "to_dot"]
