"""Scores kept on disk, in a SQLite file, by the measurement that they belong to."""
