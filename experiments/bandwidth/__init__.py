"""Element-wise operators on a simulated Ascend 910A beside those of a real one: bandwidth against size."""
