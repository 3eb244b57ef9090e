"""What the page about platforms shows is what works."""

from __future__ import annotations

import re
from pathlib import Path

from davinci_sim.platforms import platform, platform_names

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "platforms.md").read_text(encoding="utf-8")


def test_every_chip_stands_on_the_page():
    """And nothing that is no chip."""
    assert sorted(re.findall(r"^\| `(ascend\w+)` \|", PAGE, flags=re.MULTILINE)) == list(platform_names())


def test_the_toml_on_the_page_is_the_example():
    """Apart from the comment at its top."""
    shown = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    example = (DOCS / "examples" / "my_chip.toml").read_text(encoding="utf-8").splitlines(keepends=True)
    assert shown == ["".join(line for line in example if not line.startswith("#"))]


def test_the_python_on_the_page_is_a_chip(tmp_path):
    """The block as it stands, in a file."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "my_chip.py").write_text(block)
    chip = platform(str(tmp_path / "my_chip.py"))
    assert (chip.name, chip.ub_bytes) == ("my_chip", 131072)
