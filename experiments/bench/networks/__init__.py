"""Networks that are compiled to see how long that takes; their weights have shapes and no memory."""
