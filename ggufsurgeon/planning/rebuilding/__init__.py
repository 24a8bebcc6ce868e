"""Recipes that rebuild a patched file from its original."""
