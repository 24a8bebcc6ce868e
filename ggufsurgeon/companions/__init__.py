"""Companions of a model, which name its blocks by number: LoRA adapters, importance matrices,
control vectors and drafts, re-indexed for the model that a layer path makes of it."""
