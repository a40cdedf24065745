"""Timing two versions of qbench side by side on one machine, in paired rounds."""
