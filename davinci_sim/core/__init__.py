"""One AI core: its programs, the SimPy reference model, and the compiled execution of data."""
