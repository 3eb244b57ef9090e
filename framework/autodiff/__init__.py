"""Differentiation as a program transformation."""

from framework.autodiff.grad import Gradient, grad, value_and_grad
from framework.autodiff.reverse import GradientError, differentiate

__all__ = ["Gradient", "GradientError", "differentiate", "grad", "value_and_grad"]
