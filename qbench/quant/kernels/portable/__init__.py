"""Kernels for every device, a file a family; each lists its entries in `KERNELS`."""
