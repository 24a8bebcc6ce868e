"""Text from a model along a layer path, over one copy of its weights: jobs for a runner."""
