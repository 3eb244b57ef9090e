"""The reference page of the instruction set says what the declarations say."""

from __future__ import annotations

from davinci_sim.core.reference_page import COMMAND, PAGE, lines_that_differ, page, write
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.platforms import platform, platform_names


def test_the_page_is_up_to_date():
    """The page in docs/ is what the generator writes now."""
    wrong = [f"  is     {there}\n  should {right}" for there, right in lines_that_differ()]
    assert not wrong, f"{PAGE.name} has {len(wrong)} stale lines: run `{COMMAND}`\n" + "\n".join(wrong[:3])


def test_every_instruction_and_platform_is_on_the_page():
    """A section each; every platform is a column of every table of cycles."""
    text = page()
    sections = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]
    assert sorted(sections) == sorted(INSTRUCTIONS)
    assert text.count(" | ".join(platform_names()) + " |") == len(INSTRUCTIONS) + 1


def test_the_page_has_the_cycles_of_the_machine():
    """64 fractal products behind the head of the cube."""
    section = page().split("### mmad\n")[1].split("### ")[0]
    row = next(line for line in section.splitlines() if line.startswith("| fp16 |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")[1:]]
    expected = {name: str(64 + platform(name).mmad_head_cycles) for name in platform_names()}
    assert cells[platform_names().index("ascend910a")] == expected["ascend910a"]


def test_a_stale_page_is_told_line_by_line(tmp_path):
    """A page that is missing has no right line; one that was changed has one wrong."""
    path = tmp_path / "page.md"
    assert len(list(lines_that_differ(path))) > len(INSTRUCTIONS)
    write(path)
    assert list(lines_that_differ(path)) == []
    path.write_text(path.read_text().replace("# Instructions", "# Instruction", 1))
    assert list(lines_that_differ(path)) == [("# Instruction", "# Instructions")]
