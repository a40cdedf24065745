"""Pages, Markdown and terminal output from frames and records."""
