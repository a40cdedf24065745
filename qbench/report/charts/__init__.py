"""Charts of a group of cells, a module a chart."""
