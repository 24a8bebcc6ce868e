"""Pure: scores of documents as the figures of the leaderboard, and paired differences."""
