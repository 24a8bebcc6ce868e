"""Change the depth of a language model in a quantized GGUF, exactly, and prove it."""
