"""Experiments, a folder each, with their harness, the benchmarks and the command line `davinci`."""
