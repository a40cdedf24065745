"""Sequential tests of paired times: e-values of rounds and of process starts."""
