"""Comparing two sets of records."""
