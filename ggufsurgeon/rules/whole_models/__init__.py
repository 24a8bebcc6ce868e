"""Whether a file is one whole language model that llama.cpp can read."""
