"""Each pass on small Funcs: the text before and after, as `cases/<pass>.txt` shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from framework import passes
from framework.ir import parse_func, print_func, verify

CASES = [
    (path.stem, *case)
    for path in sorted((Path(__file__).parent / "cases").glob("*.txt"))
    for case in re.findall(r"^# (.*)\n((?:.*\n)*?)# becomes\n((?:.+\n?)*)", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(("name", "claim", "before", "after"), CASES, ids=[f"{a}: {b}" for a, b, *_ in CASES])
def test_a_pass_makes_what_is_shown(name, claim, before, after):
    """The claim of the case holds: the pass turns one text into the other, and nothing is left to do."""
    func = verify(parse_func(before))
    found = verify(getattr(passes, name)(func))
    assert print_func(found) == after.strip()
    assert print_func(func) == before.strip()


def test_every_pass_has_a_case():
    """A new pass comes with what it does."""
    assert {name for name, *_ in CASES} == {
        each.__name__ for each in (*passes.OPTIMIZE, *passes.FLAT[:1])
    } | {"write_zeros"}


def test_what_does_not_change_is_the_same_object():
    """A pass that finds nothing to do says so by giving back the Func itself."""
    for name, _, _, after in CASES:
        settled = passes.run(parse_func(after))
        for each in passes.OPTIMIZE:
            assert each(settled) is settled, (name, each.__name__)
