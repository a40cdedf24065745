"""Losses of held-out text by window, and divergence from the unquantized model."""
