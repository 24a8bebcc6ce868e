"""Nodes of llama.cpp's graph: found, traced, read and overwritten."""
