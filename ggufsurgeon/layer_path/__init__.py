"""The layer path: which source block runs at each position of the new model."""
