"""The console of commands: Rich's, whose reader may leave."""

from __future__ import annotations

from typing import NoReturn

from rich.console import Console


class Screen(Console):
    """A console that ends a command quietly when nobody reads on, as in `davinci kernel list | head -1`."""

    def on_broken_pipe(self) -> NoReturn:
        """Tell who runs the command, where Rich would leave with code 1."""
        raise BrokenPipeError
