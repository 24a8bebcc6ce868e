"""Measurements kept on disk: a SQLite file of scores, by what they are of."""
