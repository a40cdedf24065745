"""Timed rounds of prefill and decode."""
