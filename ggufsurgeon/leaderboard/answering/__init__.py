"""Answers of a loaded model along layer paths: beginnings that prompts share are run once."""
