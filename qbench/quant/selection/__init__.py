"""Choosing the layers to quantize, and the parameters of each."""
