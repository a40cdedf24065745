"""Bytes of weights, cache and activations, counted where they lie."""
