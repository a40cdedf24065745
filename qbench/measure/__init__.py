"""Tools that several probes measure with: clocks, generation, compilation, peak rates."""
