"""The original of a patched file, found and planned from its record."""
