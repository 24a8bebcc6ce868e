"""What llama-perplexity does, bit for bit: its rounding, its logits files, its choice of tasks."""
