"""Outputs of a gate: text, Markdown, JUnit XML and GitHub annotations."""
