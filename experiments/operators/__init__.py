"""Single operators: simulated beside everything published of a real Ascend 910A."""
