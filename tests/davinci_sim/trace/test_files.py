"""Files are there whole or not at all, and nothing but a file is replaced by one."""

from __future__ import annotations

import os
import stat

import pytest

from davinci_sim.errors import CannotWrite
from davinci_sim.trace.files import atomic_file


def write(path, text="new"):
    """Write a file."""
    with atomic_file(path) as temporary:
        temporary.write_text(text)


def break_off(path):
    """Write half a file."""
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        raise KeyError


def test_a_file_is_made_with_its_folder(tmp_path):
    write(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").read_text() == "new"


def test_what_stops_the_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write(path, "old")
    with pytest.raises(KeyError):
        break_off(path)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_a_device_or_a_pipe_stays_what_it_is(tmp_path):
    """A rename would put a file in its place, and whoever may write to /dev would lose /dev/null."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(CannotWrite) as refused:
        write(pipe)
    assert str(refused.value) == (
        f"cannot write {pipe}: it is a device or a pipe, not a file; choose another folder or change its "
        "permissions"
    )
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(CannotWrite, match="Is a directory"):
        write(tmp_path)


def test_a_link_stays_a_link(tmp_path):
    """Results may lie on another disk."""
    target, link = tmp_path / "target", tmp_path / "link"
    write(target, "old")
    link.symlink_to(target)
    write(link)
    assert (link.is_symlink(), target.read_text()) == (True, "new")
