"""The leaderboard page and the panel of a cell."""
