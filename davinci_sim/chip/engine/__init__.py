"""The compiled engine: all cores, the memory that they share and the task scheduler in one loop of Numba."""
