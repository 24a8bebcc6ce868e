"""What a model makes of a text, in figures: perplexity, and divergence from a base."""
