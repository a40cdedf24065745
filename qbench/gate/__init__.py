"""The gate: compares a new version, or a run, with an older one and gives a verdict."""
