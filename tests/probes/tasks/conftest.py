"""Fixtures of the runner's tests, for suites with tasks that are run whole."""

from tests.run.conftest import pool, run

__all__ = ["pool", "run"]
