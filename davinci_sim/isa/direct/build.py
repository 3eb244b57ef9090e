"""From LLVM code to machine code, through Numba's library of a function."""

from typing import Any

from llvmlite import binding


def build(library: Any, text: str, environment: str, repeats: bool) -> None:
    """Put a function's LLVM module into a library of Numba; `repeats` where the function has loops."""
    module = binding.parse_assembly(f'{text}\n@"{environment}" = common global ptr null\n')
    module.data_layout = library._codegen._data_layout
    module.verify()
    library._final_module.link_in(module)
    library._optimize_functions = lambda _module: None
    optimize = _optimize_loops if repeats else _optimize
    library._optimize_final_module = lambda: optimize(library)


def _optimize_loops(library: Any) -> None:
    """Run what LLVM itself chooses for quick compilation."""
    manager, builder = library._codegen._module_pass_manager(opt=1, loop_vectorize=False, slp_vectorize=False)
    manager.run(library._final_module, builder)


def _optimize(library: Any) -> None:
    """Run few of LLVM's passes, for code that is calls and numbers: those for loops take most of the time."""
    options = binding.create_pipeline_tuning_options(speed_level=1)
    builder = binding.create_pass_builder(library._codegen._tm, options)
    manager = binding.create_new_module_pass_manager()
    manager.add_sroa_pass()
    manager.add_simplify_cfg_pass()
    manager.add_instruction_combine_pass()
    manager.add_new_gvn_pass()
    manager.add_simplify_cfg_pass()
    manager.run(library._final_module, builder)
