"""All kernels against their rooflines, at the sizes of real networks."""
