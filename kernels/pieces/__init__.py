"""Pieces that families of kernels share: streams of tiles, rows, folds, transpositions, parts of attention.

They are written in the language as kernels are, and profiles show their lines as they show a kernel's own.
"""
