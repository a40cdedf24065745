"""Quantization: formats, algorithms, calibration, layers, kernels, whole models."""
