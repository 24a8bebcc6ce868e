"""Where the text of a measurement comes from."""
