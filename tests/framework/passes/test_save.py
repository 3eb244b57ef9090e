"""`save_ir`: what a function becomes, as files."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import CannotWrite
from framework import Tensor, grad, jit, passes
from framework.ir import parse_func, structurally_equal, verify


def square(x):
    return (x * x * 1.0).sum()


def test_there_is_a_numbered_file_per_pass_and_an_index(tmp_path):
    """The files are in the order of the passes; each is read back as the stage that it shows."""
    compiled = jit(square, save_ir=tmp_path).compiled(Tensor([1.0, 2.0]))
    files = sorted(path.name for path in (tmp_path / "square").glob("[0-9]*.txt"))
    assert files[:2] == ["00_traced.txt", "01_inline.txt"]
    assert len(files) == 1 + len(passes.OPTIMIZE)
    for file, (_, func) in zip(files, compiled.stages, strict=True):
        assert structurally_equal(verify(parse_func((tmp_path / "square" / file).read_text())), func)
    index = (tmp_path / "square" / "index.txt").read_text().splitlines()
    assert index[1].split() == ["00_traced.txt", "3", "1"]
    assert index[2].split() == ["01_inline.txt", "3", "1", "as", "before"]
    assert [line.split()[0] for line in index[1:]] == files


def test_a_gradient_shows_the_function_too(tmp_path):
    """The stages of a gradient start with the function that was differentiated."""
    grad(square, save_ir=tmp_path)(Tensor([1.0, 2.0]))
    files = sorted(path.name for path in (tmp_path / "grad_square").glob("[0-9]*.txt"))
    assert files[:3] == ["00_before_grad_square.txt", "01_grad_square.txt", "02_traced.txt"]


def test_each_signature_has_a_folder_and_old_files_go(tmp_path):
    """A second signature does not overwrite the first; a second run leaves nothing of the first."""
    stale = tmp_path / "square" / "77_old.txt"
    stale.parent.mkdir()
    stale.write_text("")
    f = jit(square, save_ir=str(tmp_path))
    f(Tensor([1.0]))
    f(Tensor(np.ones((2, 2), np.float32)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["square", "square.2"]
    assert not stale.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """The error says which folder and what to do."""
    (tmp_path / "square").write_text("a file")
    with pytest.raises(CannotWrite, match=r"^cannot write .*square: File exists; choose another folder"):
        jit(square, save_ir=tmp_path)(Tensor([1.0]))
