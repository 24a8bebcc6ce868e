"""Files that are no GGUF, and faults of transfers."""
