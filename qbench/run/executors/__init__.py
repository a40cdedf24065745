"""Executors: what runs cells, and where."""
