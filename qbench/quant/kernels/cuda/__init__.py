"""Kernels for NVIDIA GPUs, a file a family; each lists its entries in `KERNELS`."""
