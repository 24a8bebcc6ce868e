"""The losses of token positions, as a picture."""
