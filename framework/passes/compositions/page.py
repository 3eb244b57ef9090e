"""The reference page of the compositions, written from their table: run this module."""

from __future__ import annotations

import sys
from pathlib import Path

from framework.passes.compositions.table import COMPOSITIONS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "compositions.md"
COMMAND = "make docs"
HEAD = """# Compositions

Written by `make docs` from [their table](../../framework/passes/compositions/table.py); do not edit it.

A formula that is written with elementary operators becomes the one operator that it is, before gradients are
taken: the gradient is that of the operator, too, and both have kernels of their own. It does not matter how
a formula is written, since sums of products are compared. All are looked for, unless a step names some:

```python
training_step(net, loss, optimizer, *types, compositions=frozenset({"layer_norm", "gelu"}))
inference_step(net, *types, compositions="none")
```
"""


def page() -> str:
    """Return the page."""
    sections = (
        f"## {each.name}\n\n{each.about[0].upper()}{each.about[1:]}.\n\n"
        f"```\nbefore  {each.before}\nafter   {each.after}\n```\n"
        for each in COMPOSITIONS.values()
    )
    return "\n".join([HEAD, *sections])


def write(path: Path = PAGE) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
