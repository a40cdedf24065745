"""Fixtures of the runner's tests, for gates that run suites."""

from tests.run.conftest import executor, misbehave, run

__all__ = ["executor", "misbehave", "run"]
