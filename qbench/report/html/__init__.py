"""One self-contained HTML file: base template, scripts, compressed data."""
