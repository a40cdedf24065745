"""Whole models: converting in place, saving, loading, counting bytes."""
