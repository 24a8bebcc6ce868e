"""A check that a user can run after an install: the promises of this program, on a tiny model."""
