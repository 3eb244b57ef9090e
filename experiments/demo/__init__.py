"""The main job: LeNet-5 on the simulated chip, beside the published profile of a real one."""
