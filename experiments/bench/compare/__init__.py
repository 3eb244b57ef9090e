"""The kit beside JAX and PyTorch: how long each traces and differentiates the same training steps.

The other two come with the extra `compare` (`pip install -e .[compare]`) and are imported nowhere else. What
is missing is said, and not compared.
"""
