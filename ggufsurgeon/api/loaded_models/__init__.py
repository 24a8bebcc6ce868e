"""Loaded models: what can be run and measured along layer paths."""
