"""Recipes of model files: those that rebuild a patched file, and YAML over named models."""
