"""Tiling spaces of kernels that choose among many, and the estimates that rank them."""
