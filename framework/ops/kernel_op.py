"""Kernels of the user as operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from framework.ops.op import Op


def kernel_op(
    kernel: Any, vjp: Any, *, axes: Callable[..., Mapping[str, int]] | None = None, keeps_zero: bool = False,
    name: str = "",
) -> Op:  # fmt: skip
    """Return an operator that a kernel computes on the device, and its NumPy reference on the host.

        gelu = ops.kernel_op(my_kernels.gelu, vjp=my_kernels.gelu_grad, name="my_gelu")
        y = gelu(x)

    `vjp` is the kernel of the gradient, whose operands say by their names what they are: `x` and `y` those of
    the kernel, `dy` the cotangent of its output y, `dx` that of its input x. Or it is a rule written with
    operators, `lambda call, dy: (dy * call.outputs[0],)`, or NoGradient(reason).

    The axes of the kernel's shape are told by the shapes of its operands: a tensor of more axes has its
    leading ones joined. Where that is not enough, `axes(x, ...)` returns them from the types of the inputs.
    With `keeps_zero` the kernel works element by element and f(0) = 0, so that tensors may keep the format
    that they have on the device, padding included. The operator is called `name`, or as the kernel is.

    Raises:
        DavinciError: the name is taken, or the gradient has an operand of another name.
    """
    from framework.graph_engine.data.own_kernels import kernel_op as made

    return made(kernel, vjp, axes=axes, keeps_zero=keeps_zero, name=name)
