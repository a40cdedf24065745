"""Results for a terminal and as Markdown."""
