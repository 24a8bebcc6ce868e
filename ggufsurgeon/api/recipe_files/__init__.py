"""Recipes on files: what rebuilds a patched file, and YAML over named models."""
