"""The page about the graph engine is run as it stands."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from framework.ir.registry import OPERATORS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "graph_engine.md"


def test_the_page_about_the_graph_engine_is_true():
    """Every example gives what the page says; the operator that it makes is gone afterwards."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    try:
        found = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags)
    finally:
        OPERATORS.pop("decay", None)
    assert found.attempted > 60
    assert found.failed == 0


def test_what_the_page_leads_to_is_there():
    """Links to files, pictures among them, name files."""
    links = re.findall(r"\]\((?!http)([^)#]+)", PAGE.read_text(encoding="utf-8"))
    assert [link for link in links if not (DOCS / link).exists()] == []
