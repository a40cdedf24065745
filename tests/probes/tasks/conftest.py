"""Fixtures of the runner's tests, for suites with tasks that are run whole."""

from tests.run.conftest import executor, run

__all__ = ["executor", "run"]
