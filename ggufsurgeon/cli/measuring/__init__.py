"""Commands that measure a model, as it is or along a layer path."""
