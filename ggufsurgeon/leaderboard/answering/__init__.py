"""Answers of a loaded model along layer paths: prefixes that prompts share are run once."""
