"""Logits of the scored tokens, and the scores computed from them."""
