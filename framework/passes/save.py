"""What a function becomes from pass to pass, as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from davinci_sim.errors import cannot_write
from framework.files import write_atomically
from framework.ir.nodes import Func
from framework.ir.printer import print_func
from framework.passes.walk import distinct

INDEX = "index.txt"


def save_stages(folder: str | Path, name: str, signature: int, stages: Sequence[tuple[str, Func]]) -> Path:
    """Write a text file per stage, and an index of them, into a folder of the function's name; return it.

    The files are numbered in the order of the passes: `00_traced.txt`, `01_inline.txt` and so on. Each can be
    read back. The second and later signatures of a function have folders of their own: `f.2`, `f.3`.
    """
    plain = re.sub(r"[^\w.-]", "_", name) or "function"
    target = Path(folder) / (plain if signature == 0 else f"{plain}.{signature + 1}")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for stale in target.glob("[0-9][0-9]_*.txt"):
            stale.unlink()
        lines = [f"{'file':<34} {'bindings':>8} {'funcs':>6}"]
        before: Func | None = None
        for number, (stage, func) in enumerate(stages):
            file = f"{number:02}_{re.sub(r'[^A-Za-z0-9_.-]', '_', stage)}.txt"
            write_atomically(target / file, f"{print_func(func)}\n".encode())
            lines.append(_line(file, func, func is before))
            before = func
        write_atomically(target / INDEX, ("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise cannot_write(target, error) from None
    return target


def _line(file: str, func: Func, is_same: bool) -> str:
    """Return the line of the index: what a stage has, and whether it has changed nothing."""
    inside = distinct(func)
    bindings = sum(len(each.bindings) for each in inside)
    return f"{file:<34} {bindings:>8} {len(inside):>6}{'  as before' if is_same else ''}"
