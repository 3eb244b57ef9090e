"""The reference page of the kernels says what their declarations say."""

from __future__ import annotations

import kernels
from kernels.reference_page import COMMAND, PAGE, page, write


def test_the_page_is_up_to_date():
    """The page in docs/ is what the generator writes now."""
    assert PAGE.read_text(encoding="utf-8") == page() + "\n", f"{PAGE.name} is stale: run `{COMMAND}`"


def test_every_kernel_has_its_section():
    sections = [line.removeprefix("### ") for line in page().splitlines() if line.startswith("### ")]
    assert sorted(sections) == sorted(kernels.load())


def test_a_kernel_tells_keys_types_and_operands(tmp_path):
    """As the cast does: one key, conversions, what goes in and what comes out."""
    write(tmp_path / "page.md")
    section = (tmp_path / "page.md").read_text().split("### cast\n")[1].split("### ")[0]
    assert "- `--shape` `n`\n" in section
    assert "fp16 to fp32" in section
    assert "`x[2500] fp16`, gives `y[2500] fp16`" in section
