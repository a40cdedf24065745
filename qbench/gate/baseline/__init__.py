"""Baselines: values of an accepted run, in a file that is committed."""
