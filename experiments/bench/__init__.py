"""How quick the kit is: `python -m experiments.bench`."""
