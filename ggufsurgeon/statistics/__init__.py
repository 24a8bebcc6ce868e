"""Scores of tokens to estimates with standard errors: perplexity, divergence, means."""
