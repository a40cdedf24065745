"""The local executor: a warm server that forks a worker for each cell."""
