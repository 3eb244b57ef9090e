"""The named tuples of shapes and tilings, made by `kernels.lang.shapes` and kept here to be importable."""
