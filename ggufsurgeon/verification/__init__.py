"""Checks of a patched file: structure, equivalence, tokens, and that it runs."""
