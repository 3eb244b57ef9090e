"""The reference page of the kernels, written from their declarations: `python -m kernels.reference_page`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from itertools import groupby
from pathlib import Path

import kernels
from davinci_sim.isa.fields import DTYPE_NAMES
from kernels.lang.kernel import Kernel, Operand
from kernels.lang.shapes import Shape
from kernels.samples import plain_shapes

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "kernels.md"
COMMAND = "make docs"
HEAD = """# Kernels

Written by `make docs` from the files in [kernels/](../../kernels); do not edit it. `davinci kernel list`
prints the same in short, and with `--platform` which types a chip takes.

A key of `--shape` with a value may be left out. *Operands* are those of the small problem that is named:
shape, element type, and layout where it is not plain (ND).
"""


def page() -> str:
    """Return the page."""
    families = groupby(sorted(kernels.load().values(), key=lambda k: (k.module, k.name)), lambda k: k.module)
    return "\n".join([HEAD, *(line for module, each in families for line in _family(module, list(each)))])


def _family(module: str, members: list[Kernel]) -> Iterator[str]:
    """Yield the section of a file: its docstring, then its kernels."""
    name = module.rpartition(".")[2]
    about = (sys.modules[module].__doc__ or "").strip()
    yield f"## [{name}](../../{module.replace('.', '/')}.py)\n\n{about}\n"
    for kernel in members:
        yield from _kernel(kernel)


def _kernel(kernel: Kernel) -> Iterator[str]:
    """Yield the section of a kernel."""
    small = plain_shapes(kernel)
    yield f"### {kernel.name}\n\n{kernel.doc}\n"
    yield f"- `--shape` {', '.join(_keys(kernel.shape_type))}"
    yield f"- types: {', '.join(dict.fromkeys(map(_types, small))) or 'those of its operands'}"
    yield f"- tiling: {', '.join(kernel.tiling_type.names())}"
    yield f"- operands of `{small[0]}`: {', '.join(map(_operand, kernel.operands(small[0])))}\n"


def _keys(shape_type: type[Shape]) -> Iterator[str]:
    """Yield the keys that are no types, with their defaults."""
    for field in fields(shape_type):
        if not field.name.endswith("dtype"):
            yield f"`{field.name}`" if field.default is MISSING else f"`{field.name}={field.default}`"


def _types(shape: Shape) -> str:
    """Return the types of a shape, as `fp16` or `fp16 to fp32`."""
    names = [DTYPE_NAMES[getattr(shape, name)] for name in shape.names() if name.endswith("dtype")]
    return " to ".join(dict.fromkeys(names))


def _operand(operand: Operand) -> str:
    """Return an operand as `a[33, 70] fp16 NZ`; results are marked by an arrow."""
    layout = "" if operand.layout == "ND" else f" {operand.layout}"
    text = f"`{operand.name}[{', '.join(map(str, operand.shape))}] {operand.dtype_name}{layout}`"
    return f"gives {text}" if operand.is_output else text


def write(path: Path = PAGE) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page() + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
