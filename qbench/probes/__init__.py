"""What is measured: a folder a quantity, each with its section of the suite, its probe and its metrics."""
