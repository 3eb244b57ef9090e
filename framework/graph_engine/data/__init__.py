"""Data management: the graph store, the operator store, the memory plan."""
