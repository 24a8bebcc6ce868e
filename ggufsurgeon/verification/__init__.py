"""Checks of a patched file: structure, equivalence, tokens, and that it runs.

`structures/` compares headers and bytes, `model_runs/` runs the models, and `verifier` does all.
"""
