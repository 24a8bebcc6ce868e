"""The header of a GGUF file: a lossless codec."""
