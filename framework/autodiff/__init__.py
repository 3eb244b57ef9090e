"""Differentiation as a program transformation, and vectorisation."""

from framework.autodiff.custom import custom_vjp, hook, recompute
from framework.autodiff.functional import hessian, jacfwd, jacrev, vmap
from framework.autodiff.grad import Gradient, grad, value_and_grad
from framework.autodiff.products import jvp, vjp
from framework.autodiff.reverse import differentiate
from framework.ops.op import GradientError

__all__ = [
    "Gradient",
    "GradientError",
    "custom_vjp",
    "differentiate",
    "grad",
    "hessian",
    "hook",
    "jacfwd",
    "jacrev",
    "jvp",
    "recompute",
    "value_and_grad",
    "vjp",
    "vmap",
]
