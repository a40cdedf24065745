"""The contract of a kernel: a layer's spec, conditions, features of the machine, the compiled library."""
