"""Statistics: bootstrap, medians, change points, multiple testing, rank tests."""
