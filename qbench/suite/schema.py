"""The JSON Schema of a suite file, for editors that complete and check YAML while it is written."""

from __future__ import annotations

from typing import Any

from qbench.suite.spec import Suite

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Draft 2020-12, made from the same models that check a suite."""
    schema = Suite.model_json_schema(mode="validation")
    return {"$schema": DIALECT, **schema, "title": "qbench suite"}
