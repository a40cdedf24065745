"""History: the runs of a results tree as series over time, cut at change points."""
