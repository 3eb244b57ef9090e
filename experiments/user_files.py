"""Python files of the user: kernels named `path/to/file.py:name`, and experiments outside of the package."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from davinci_sim.errors import DavinciError, unknown

if TYPE_CHECKING:
    from kernels.lang.kernel import Kernel


def find_kernel(name: str) -> Kernel:
    """Return a kernel of the kit by name, or one of a file given as `file.py:name`.

    Raises:
        UnknownName: there is no such kernel.
        DavinciError: the file cannot be imported.
    """
    import kernels

    path, colon, own = name.rpartition(":")
    if not colon:
        if name.endswith(".py"):
            raise DavinciError(f"kernel {name}: a file may hold several kernels; write {name}:<kernel>")
        return kernels.find(name)
    from kernels.lang.kernel import Kernel

    module = load_module(Path(path))
    found = {key: value for key, value in vars(module).items() if isinstance(value, Kernel)}
    if own not in found:
        raise unknown(f"kernel of {path}", own, found)
    return found[own]


def place_of(error: BaseException) -> str:
    """Return the last line of a user's file that an error came through, as `file.py:12: text`, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(Path(frame.filename))]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}: {own[-1].line}" if own else ""


def _is_users(path: Path) -> bool:
    """Tell whether a file is neither ours nor Python's nor one that was installed."""
    root = Path(__file__).resolve().parent.parent
    packages = [root / name for name in ("davinci_sim", "kernels", "framework", "experiments")]
    others = [Path(sys.prefix), Path(sys.base_prefix), *packages]
    return path.is_file() and not any(path.resolve().is_relative_to(other.resolve()) for other in others)


def load_module(path: Path, name: str = "") -> ModuleType:
    """Import a Python file by its path, as module `name`; `import` inside it finds its neighbours.

    Raises:
        DavinciError: there is no such file, or it fails.
    """
    if not path.is_file():
        raise DavinciError(f"there is no file {path}; give the path of a Python file, as in my_kernel.py:add")
    spec = importlib.util.spec_from_file_location(name or f"user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DavinciError(f"{path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except DavinciError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        line = getattr(error, "lineno", None) or last.lineno
        where = f"{Path(getattr(error, 'filename', None) or last.filename).name}:{line}"
        raise DavinciError(f"{path} cannot be imported: {type(error).__name__}: {error}\n  {where}") from None
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module
