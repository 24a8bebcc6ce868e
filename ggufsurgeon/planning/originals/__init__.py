"""The original of a patched file, from its record."""
