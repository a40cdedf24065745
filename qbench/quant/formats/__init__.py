"""Stored forms of a quantized weight: affine integers, 8-bit floats, outliers, bit packing."""
