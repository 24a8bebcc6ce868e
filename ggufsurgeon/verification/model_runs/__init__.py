"""Runs of the source and the patched file in llama.cpp, and their comparison."""
