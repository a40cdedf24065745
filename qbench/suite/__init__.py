"""What to measure: the suite file, its checks, and the matrix that it expands into."""
