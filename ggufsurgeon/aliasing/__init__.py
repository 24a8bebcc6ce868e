"""A patched model over the weights of its loaded source: no file, and one copy of the weights."""
