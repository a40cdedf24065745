"""Models and texts: finding them, pinning them by hash, loading them."""
