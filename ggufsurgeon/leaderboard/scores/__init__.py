"""Scores of documents as the figures of the leaderboard, and paired differences, without I/O."""
