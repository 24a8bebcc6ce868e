"""Texts and layer paths to scores of tokens.

One pass over the base gives its scores and the states that every window needs; then each path is
scored in turn, and measured against the base.
"""
