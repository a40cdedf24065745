"""The history of a results tree as a page and as text."""
