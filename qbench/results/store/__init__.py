"""Folders of records: reading, atomic writing, locking."""
