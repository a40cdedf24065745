"""Kernels for a CPU, a file a family; each lists its entries in `KERNELS`."""
