"""A scan as a picture: its map and its ranking."""
