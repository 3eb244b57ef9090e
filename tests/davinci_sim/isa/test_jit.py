"""Machine code on disk is used for as long as nothing changes that it was compiled from."""

import os
import pickle
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import NamedTuple

import numba
import pytest

from davinci_sim.isa.cache import _Files, digest_of
from davinci_sim.isa.jit import apart, inner

ROOT = Path(__file__).parents[3]
TWO_FILES = """
from davinci_sim.isa.jit import apart, inner, jit

@apart
def leaf(x):
    return x + {added}

@inner
def branch(x):
    return leaf(x) * 2

@jit
def top(x):
    return branch(x)
"""
TUPLE = """
from typing import NamedTuple
from davinci_sim.isa.jit import apart, jit

class Found(NamedTuple):
    {fields}

@apart
def found(x):
    return Found({values})

@apart
def passed_on(x):
    return found(x)

@apart
def last(pair):
    return pair.{last}

@jit
def top(x):
    return last(passed_on(x))
"""
RAISING = """
import numpy as np
from davinci_sim.isa.jit import apart, inner, jit

@apart
def called(x):
    if x == 3:
        raise ValueError("called")
    return x

@inner
def compiled_in(x):
    if x == 2:
        raise ValueError(x)
    return called(x)

@jit
def top(x):
    return compiled_in(x) + np.ones(x).sum()
"""
BOTH_WAYS = """
from davinci_sim.isa.jit import apart, inner, jit

@inner
def shared(x):
    return x + 2

by_address = apart(shared)

@jit
def top(x):
    return shared(x)

@jit
def other(x):
    return by_address(x) * 2
"""
OUTCOMES = """
import sys, grown
for x in (0, 2, 3):
    try:
        print(grown.top(x))
    except ValueError as error:
        print(repr(error))
print(sum(grown.top.dispatcher.stats.cache_hits.values()), "numba.np.arraymath" in sys.modules)
"""
SHOW = "import grown; print(grown.top(1), sum(grown.top.dispatcher.stats.cache_hits.values()))"


def made(source: str, **scope: object):
    """Return the function `f` of a source text."""
    names = {"__name__": "made", **scope}
    exec(source, names)
    return names["f"]


def test_a_comment_keeps_the_digest():
    """Byte code, not text, is what counts."""
    assert digest_of(made("def f(x):\n    return x + 1")) == digest_of(
        made("def f(x):\n    # why\n    return x + 1")
    )


def test_a_constant_that_a_function_reads_is_part_of_its_digest():
    """Numba freezes global numbers into machine code."""
    source = "def f(x):\n    return x + ADDED"
    assert digest_of(made(source, ADDED=1)) != digest_of(made(source, ADDED=2))


def test_the_fields_of_an_annotated_named_tuple_are_part_of_the_digest():
    """Machine code takes them by place, and knows their names."""
    source = "def f(x: Pair):\n    return x[0]"
    digests = {digest_of(made(source, Pair=namedtuple("Pair", fields))) for fields in ("a b", "a c", "a b")}
    assert len(digests) == 2


def test_code_for_a_type_that_is_gone_is_compiled_again(tmp_path):
    """Index and code of a function name the types of its arguments: without them these cannot be read."""
    files, gone = _Files(str(tmp_path), "function", ""), b"cdecimal\nGone\n."
    files.save("key", "code")
    assert files.load("key") == "code"
    (tmp_path / "function.1.nbc").write_bytes(gone)
    assert files.load("key") is None
    (tmp_path / "function.nbi").write_bytes(pickle.dumps(numba.__version__) + gone)
    assert files.load("key") is None


def helpers(kind):
    """Return two versions of a helper, made callable from compiled code by `kind`."""
    return [kind(made(f"def f(x):\n    return x + {added}")) for added in (1, 2)]


def test_a_function_that_is_compiled_in_is_part_of_the_digest():
    """The caller's machine code contains the helper's."""
    source = "def f(x):\n    return helper(x)"
    first, second = helpers(inner)
    assert digest_of(made(source, helper=first)) != digest_of(made(source, helper=second))


@pytest.mark.parametrize("into_calls", [False, True])
def test_a_function_that_is_called_by_address_counts_if_asked_for(into_calls):
    """The caller's machine code holds no more of it than its name."""
    source = "def f(x):\n    return helper(x)"
    first, second = (digest_of(made(source, helper=each), into_calls) for each in helpers(apart))
    assert (first != second) == into_calls


def test_code_that_calls_what_has_changed_is_compiled_again(tmp_path):
    """Through a function compiled in, too; without a change it is read from disk."""
    texts = [TWO_FILES.format(added=added) for added in (1, 1, 2, 2)]
    assert shown(tmp_path, texts) == [["4", "0"], ["4", "1"], ["6", "0"], ["6", "1"]]


def test_code_that_passes_a_tuple_with_another_field_is_compiled_again(tmp_path):
    """A function that only hands it on has not changed, yet what calls that has to."""
    one = TUPLE.format(fields="a: int", values="x", last="a")
    two = TUPLE.format(fields="a: int; b: int", values="x, x + 6", last="b")
    assert shown(tmp_path, [one, two, two]) == [["1", "0"], ["7", "0"], ["7", "1"]]


def test_code_that_passes_a_tuple_with_renamed_fields_is_compiled_again(tmp_path):
    """The text of its type is the same, and so is what hands it on."""
    one = TUPLE.format(fields="a: int; b: int", values="x, x + 6", last="b")
    two = TUPLE.format(fields="b: int;  a: int", values="x, x + 6", last="b")  # Python sees another size
    assert shown(tmp_path, [one, two, two]) == [["7", "0"], ["1", "0"], ["1", "1"]]


def test_the_fields_of_what_a_named_tuple_holds_are_part_of_the_digest():
    """Machine code takes those by place, too."""
    source = "def f(x: Outer):\n    return x[0][0]"
    digests = set()
    for fields in ("a b", "a c"):

        class Outer(NamedTuple):
            held: namedtuple("Inside", fields)

        digests.add(digest_of(made(source, Outer=Outer)))
    assert len(digests) == 2


def test_code_from_the_disk_raises_what_was_compiled_and_imports_no_more_of_numba(tmp_path):
    """With and without a value in the message, in what is compiled in and in what is called by address."""
    outcomes = ["0.0", "ValueError(2)", "ValueError('called')"]
    first, second = shown(tmp_path, [RAISING, RAISING], OUTCOMES)
    assert first == [*outcomes, "0", "True"]
    assert second == [*outcomes, "1", "False"]


def test_a_function_may_be_compiled_in_here_and_called_by_address_there(tmp_path):
    """What is kept of it for one way does not stand in for the other one in the next process."""
    both = "import grown; print(grown.other(1), grown.top(1))"
    assert shown(tmp_path, [BOTH_WAYS], both) == [["6", "3"]]
    assert shown(tmp_path, [BOTH_WAYS]) == [["3", "1"]]


def shown(tmp_path, texts, show=SHOW):
    """Return what a new process prints for each text of a module, one after the other."""
    found = []
    for text in texts:
        (tmp_path / "grown.py").write_text(text)
        environment = {
            **os.environ,
            "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", show], env=environment, capture_output=True, text=True, check=True
        )
        found.append(done.stdout.split())
    return found
