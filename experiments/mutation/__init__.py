"""Seed bugs into the shipped kernels and count who catches them."""
