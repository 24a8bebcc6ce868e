"""What a model makes of a text, in figures: perplexity, by the algorithm of llama-perplexity."""
