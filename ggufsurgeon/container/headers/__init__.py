"""A lossless codec for the header of a GGUF file."""
