"""The reference page of the fusions, written from their table: run this module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from framework.graph_engine.service.fusion.table import ELEMENTS_TEXT, PATTERNS, SETS

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "fusions.md"
COMMAND = "make docs"
HEAD = """# Fusions

Written by `make docs` from [their table](../../framework/graph_engine/service/fusion/table.py); do not edit
it. `Options(fusions=...)` takes the name of a set, or names from here:

```python
Options(fusions="real")
Options(fusions=frozenset({"matmul_bias", "elements"}))
```

Sets are `none`, `real` (what the stack of 2020 had) and `all`. A fusion is made where it spares bytes to and
from memory, conversions of formats around it counted, and the simulated chip is faster with it. What was
decided, with both times, stands below the graph that step 3 prints, one line a decision.
"""


def page() -> str:
    """Return the page."""
    texts = [*(pattern.text() for pattern in PATTERNS.values()), ELEMENTS_TEXT]
    return "\n".join([HEAD, *(line for text in texts for line in _section(text))])


def _section(text: str) -> Iterator[str]:
    """Yield the section of a fusion from its text."""
    first, *graphs = text.split("\n")
    name, _, about = first.partition(": ")
    sets = ", ".join(f"`{called}`" for called, names in SETS.items() if name in names)
    yield f"## {name}\n\n{about[0].upper()}{about[1:]}. In {sets}.\n"
    yield "```\n" + "\n".join(line.removeprefix("  ") for line in graphs) + "\n```\n"


def write(path: Path = PAGE) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
