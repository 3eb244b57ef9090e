"""What shapes of windows have in common: how far the windows reach beyond the image on each side."""

from typing import ClassVar


class Padding:
    """Windows reach `pad` beyond the image on every side, and `more_top` ... beyond that on one."""

    SIDES: ClassVar[tuple[str, ...]] = ("more_top", "more_bottom", "more_left", "more_right")
    pad: int
    more_top: int
    more_bottom: int
    more_left: int
    more_right: int

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Rows or columns of padding at the top, at the bottom, on the left, on the right."""
        pad = self.pad
        return pad + self.more_top, pad + self.more_bottom, pad + self.more_left, pad + self.more_right

    @property
    def padding(self) -> dict[str, int]:
        """What is said of the padding: `pad`, and the sides that have more."""
        sides = {name: getattr(self, name) for name in self.SIDES}
        return {"pad": self.pad, **{name: more for name, more in sides.items() if more}}

    def hides(self, height: int, width: int) -> bool:
        """Tell whether a window of this size lies beside the image somewhere, or padding is negative."""
        top, bottom, left, right = self.pads
        return min(self.padding.values()) < 0 or max(top, bottom) >= height or max(left, right) >= width
