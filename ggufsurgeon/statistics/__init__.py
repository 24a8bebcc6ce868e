"""Scores of tokens to estimates with standard errors: perplexity, divergence, means.

No model is run here and no file is opened.
"""
