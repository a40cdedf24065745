"""The schema for editors, checked by the jsonschema library, which knows nothing of pydantic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from qbench.quant.method.registry import available, make
from qbench.suite.load import load_suite, parse_suite
from qbench.suite.matrix import expand
from qbench.suite.spec import DIALECT, json_schema

SUITES = sorted((Path(__file__).parents[2] / "suites").glob("*.yaml"))
SMALL: dict[str, Any] = {"name": "a", "models": [{"source": "b"}], "methods": [{"name": "none"}]}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == DIALECT
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", SUITES, ids=[path.stem for path in SUITES])
def test_the_shipped_suites_are_valid(path: Path, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(yaml.safe_load(path.read_text()))
    suite = load_suite(path)
    assert suite.name == path.stem
    for corner in expand(suite, available()):
        assert make(corner.method, corner.params).params().items() >= corner.params.items()


@pytest.mark.parametrize(
    "good",
    [
        {"energy": False, "latency": True, "memory_limit": "8GiB", "threads": None},
        {"quality": {"corpus": {"dataset": "a/b"}, "seqlen": 64}},
        {"methods": [{"name": "absmax", "num_bits": [8, 4], "anything": True}]},
    ],
)
def test_schema_takes_what_the_reader_takes(
    good: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    validator.validate({**SMALL, **good})
    parse_suite(yaml.safe_dump({**SMALL, **good}), "s.yaml")


@pytest.mark.parametrize(
    "bad",
    [
        {"qualtiy": False},
        {"quality": {"protocol": "gpqt"}},
        {"quality": {"corpus": {"datset": "a/b"}}},
        {"models": []},
        {"models": [{"source": "b", "dtypes": ["bf61"]}]},
        {"methods": ["none"]},
        {"energy": "off"},
        {"energy": None},
        {"seed": -1},
        {"name": "a b"},
        {"layers": {"overrides": [{"num_bits": 4}]}},
    ],
    ids=str,
)
def test_schema_refuses_what_the_reader_refuses(
    bad: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    assert not validator.is_valid({**SMALL, **bad})


def test_every_key_is_described() -> None:
    schema = json_schema()
    for section in (schema, *schema["$defs"].values()):
        for key, entry in section["properties"].items():
            assert entry.get("description"), f"{section['title']}.{key}"


def test_the_quickstart_runs_every_method_of_the_registry() -> None:
    suite = load_suite("quickstart")
    assert set(available()) <= {corner.method for corner in expand(suite, available())}
    more = {corner.method for corner in expand(suite, [*available(), "brand_new"])}
    assert more - set(available()) == {"brand_new"}
