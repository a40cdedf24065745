"""A package of somebody else's with one metric, installed by putting this folder on a process's path."""
