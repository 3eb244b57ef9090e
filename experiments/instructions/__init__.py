"""Single instructions of a simulated Ascend 910B1 beside the vendor's measurements."""
