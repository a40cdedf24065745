"""The comparison of two sets of records as a page and as text."""
