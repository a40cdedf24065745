"""The gate: is a new version worse than an old one? Statistics and verdicts; `qbench gate` runs what they
need."""
