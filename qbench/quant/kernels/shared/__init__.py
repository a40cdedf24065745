"""Steps that several kernels share: rounding of activations, tiles of weight, the end of a product."""
