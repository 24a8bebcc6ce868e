"""The rules of several models whose blocks are in one file."""
