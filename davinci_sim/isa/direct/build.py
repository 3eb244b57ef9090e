"""From LLVM code to machine code, through Numba's library of a function."""

from typing import Any

from llvmlite import binding


def build(library: Any, text: str, environment: str) -> None:
    """Put a function's LLVM module into a library of Numba."""
    module = binding.parse_assembly(f'{text}\n@"{environment}" = common global ptr null\n')
    module.data_layout = library._codegen._data_layout
    module.verify()
    library._final_module.link_in(module)
    library._optimize_functions = lambda _module: None
    library._optimize_final_module = lambda: _optimize(library)


def _optimize(library: Any) -> None:
    """Run few of LLVM's passes: the code is short, and is made once for each machine."""
    manager, builder = library._codegen._module_pass_manager(opt=1, loop_vectorize=False, slp_vectorize=False)
    manager.run(library._final_module, builder)
