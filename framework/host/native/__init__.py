"""Machine code for loops whose values are scalars, and stacks of what they save."""
