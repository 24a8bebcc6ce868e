"""Companions of a model, which name its blocks by number: LoRA adapters, importance matrices and
control vectors, re-indexed for the model that a layer path makes of it."""
