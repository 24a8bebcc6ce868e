"""Files that are not GGUF, or were damaged by a transfer, recognised to say what they are."""
