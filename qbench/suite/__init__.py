"""The suite file: its keys, its checks, its rules, and the matrix that it expands into."""
