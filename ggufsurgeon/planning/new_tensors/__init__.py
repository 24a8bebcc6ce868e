"""The tensors of a new file: their order, their data, and what multiplies them."""
