"""Plans over the blocks of several models."""
