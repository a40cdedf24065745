"""pandas DataFrames from records: cells, samples, layers, tasks."""
