"""Measurements kept on disk, by what they are of."""
