"""Pure functions from the long table of a study to its leaderboard."""
