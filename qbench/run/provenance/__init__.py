"""Facts of machine and software that a manifest records."""
