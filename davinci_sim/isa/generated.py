"""The named tuples of decoded instructions, made by `isa.instruction` and kept here to be importable."""
