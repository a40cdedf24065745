"""View models: cells as text, columns as they are shown, rows, the answer sentence."""
