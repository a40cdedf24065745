"""What runs inside the process of a cell."""
