"""Every run of a results tree as series over time."""
