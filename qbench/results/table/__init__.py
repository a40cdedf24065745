"""The one table of metrics and columns, assembled from the probes."""
