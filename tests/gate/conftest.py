"""Fixtures of the runs' tests, for gates that run whole suites."""

from __future__ import annotations

from tests.run.conftest import misbehave, pool, run

__all__ = ["misbehave", "pool", "run"]
