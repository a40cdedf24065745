"""Walking a model block by block on a calibration text."""
