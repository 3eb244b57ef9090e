"""The six steps, each a module that can be called alone."""
