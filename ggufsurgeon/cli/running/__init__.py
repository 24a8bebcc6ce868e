"""Commands that run a model, as it is or along a layer path."""
