"""Differentiation as a program transformation, and vectorisation."""

from framework.autodiff.functional import hessian, jacfwd, jacrev, vmap
from framework.autodiff.grad import Gradient, grad, value_and_grad
from framework.autodiff.products import jvp, vjp
from framework.autodiff.reverse import GradientError, differentiate

__all__ = [
    "Gradient",
    "GradientError",
    "differentiate",
    "grad",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "value_and_grad",
    "vjp",
    "vmap",
]
