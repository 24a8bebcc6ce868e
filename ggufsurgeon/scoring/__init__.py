"""Texts and layer paths to scores of tokens."""
