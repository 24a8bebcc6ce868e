"""What a scan measures on each layer path: a probe gives items, and a score for each of them.

A probe of `probe` scores how likely given tokens are, one of `answers` what a model generates.
"""
