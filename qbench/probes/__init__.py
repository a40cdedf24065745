"""Probes: a folder for each quantity, with its section of a suite, measurement, metrics and raw series."""
