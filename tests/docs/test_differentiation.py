"""The page about derivatives is run as it stands."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "differentiation.md"


def test_the_page_about_derivatives_is_true(tmp_path):
    """Every example gives what the page says; pictures and texts go to a folder of the test."""
    found = doctest.testfile(
        str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS, extraglobs={"folder": tmp_path}
    )
    assert found.attempted > 60
    assert found.failed == 0
    assert (tmp_path / "derivative.png").read_bytes().startswith(b"\x89PNG")


def test_what_the_page_leads_to_is_there():
    """Links to files, pictures among them, name files."""
    links = re.findall(r"\]\((?!http)([^)#]+)", PAGE.read_text(encoding="utf-8"))
    assert [link for link in links if not (DOCS / link).exists()] == []
