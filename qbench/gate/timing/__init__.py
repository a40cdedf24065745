"""Sequential tests of paired times: e-values of paired rounds and of process starts."""
