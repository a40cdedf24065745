"""Fixtures of the runner's tests, for gates that run suites."""

from tests.run.conftest import misbehave, pool, run

__all__ = ["misbehave", "pool", "run"]
