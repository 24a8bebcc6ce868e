"""The rules of an architecture, applied to the blocks of a file along a layer path."""
