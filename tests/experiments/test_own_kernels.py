"""A user's kernel may live anywhere, its own modules beside it; its mistakes are told with their lines."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "my_kernels"
OWN = Path(__file__).with_name("own_kernels.py")


@pytest.fixture
def mine(tmp_path):
    """Return a folder elsewhere that holds the example kernels."""
    return Path(shutil.copytree(FOLDER, tmp_path / "work" / "my_kernels"))


def test_a_kernel_runs_from_any_directory_with_the_module_beside_it(mine, tmp_path):
    """In a process of its own, whose working directory is neither that of the kit nor that of the kernel."""
    (tmp_path / "elsewhere").mkdir()
    name = "../work/my_kernels/gelu.py:gelu"
    command = [sys.executable, "-m", "experiments.cli.main", "kernel", "run", name, "--shape", "n=3000"]
    done = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok: largest error" in done.stdout


@pytest.mark.parametrize(
    ("command", "options"),
    [("check", ()), ("show", ()), ("inspect", ("--until", "3")), ("tune", ("--folder", "."))],
)
def test_every_command_takes_a_kernel_of_the_users_own(mine, answer, monkeypatch, command, options):
    monkeypatch.chdir(mine)
    assert (
        answer("kernel", command, "gelu.py:gelu_grad", "--shape", "n=700", *options)["kernel"] == "gelu_grad"
    )


def test_an_exception_in_the_users_own_python_is_told_with_its_line(mine, refusal):
    """In the reference here; operands, tilings and shapes are no different."""
    path = mine / "gelu.py"
    source = path.read_text()
    path.write_text(source.replace("    with np.errstate", "    x = x.nothing\n    with np.errstate", 1))
    number = path.read_text().splitlines().index("    x = x.nothing") + 1
    assert refusal("kernel", "run", f"{path}:gelu", "--shape", "n=100") == (
        "AttributeError: 'numpy.ndarray' object has no attribute 'nothing'\n"
        f"  gelu.py:{number}: x = x.nothing\n  next: mend that line"
    )


def test_a_kernel_that_cannot_be_compiled_is_told_with_its_line_and_a_caret(mine, refusal):
    path = mine / "gelu.py"
    path.write_text(path.read_text().replace("shape.n, LINE)", "shape.nn, LINE)", 1))
    text = refusal("kernel", "run", f"{path}:gelu", "--shape", "n=100")
    assert text.startswith("kernel gelu cannot be compiled: shape has no field 'nn'\n  gelu.py:")
    assert "^^^^^^^^\n  next: its fields are n" in text


def test_a_race_names_the_lines_of_the_users_file(answer):
    found = answer("kernel", "check", f"{OWN}:racing", "--shape", "n=100", code=1)["findings"]
    assert found
    assert all("own_kernels.py:" in line for each in found for line in each["source"])
