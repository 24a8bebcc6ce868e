"""The Open LLM Leaderboard: six benchmarks of lm-evaluation-harness along layer paths.

The harness makes the prompts and scores the answers (`harness/`, its only importer). A model that
is loaded once answers along every path (`answering/`). Scores of documents become the figures of
the leaderboard, with paired errors (`scores/`). What the harness asks is in `requests`, what it
scores in `documents`.
"""
