"""Baselines: what an accepted run measured, in a file that is committed."""
