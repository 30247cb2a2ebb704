"""Complete runs: from what a user names to networks, files and results."""
