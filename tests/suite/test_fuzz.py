"""No input gives anything but a Suite or a SuiteError, and what is read satisfies the schema.

QBENCH_FUZZ_EXAMPLES sets how many inputs each test tries (100 unless set).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qbench.errors import SuiteError
from qbench.suite.load import parse_suite
from qbench.suite.matrix import expand, select
from qbench.suite.positions import read
from qbench.suite.rules import parse_filter
from qbench.suite.spec import Suite, json_schema

EXAMPLES = int(os.environ.get("QBENCH_FUZZ_EXAMPLES", "100"))
SHIPPED = [path.read_text() for path in sorted((Path(__file__).parents[2] / "suites").glob("*.yaml"))]
VALIDATOR = jsonschema.Draft202012Validator(json_schema())
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

_MARKS = [*"{}[]|>'\"#\n\t\r\x00\ufeff\u2028", ": ", ", ", "- ", "? ", "  ", "&a ", "*a", "!!int ", "!x "]
_WORDS = [
    "---\n",
    "...",
    "%YAML 1.2\n",
    "<<",
    "\\U",
    "\\x00",
    "~",
    "true",
    ".nan",
    "1e9",
    "0x",
    "4",
    "name",
    "include",
]
_YAML_BITS = st.sampled_from([*_MARKS, *_WORDS])
_KEYS = st.sampled_from(
    sorted([*Suite.model_fields, "source", "dtypes", "corpus", "label", "pattern", "model_config"])
)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | _KEYS
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_KEYS | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def check_message(message: str) -> None:
    """It names the file in every line, and can be printed and stored."""
    assert all(line.startswith("f.yaml") for line in message.split("\n"))
    assert message.encode()


def survive(text: str | bytes) -> Suite | None:
    """Reads and expands: a Suite that can be stored and meets the schema, or a SuiteError."""
    try:
        suite = parse_suite(text, "f.yaml")
        corners = expand(suite, ["none", "absmax"])
    except SuiteError as error:
        check_message(str(error))
        return None
    assert corners
    assert len({(c.model.name, c.dtype, c.device, c.label, c.repetition) for c in corners}) == len(corners)
    json.dumps(suite.model_dump(), allow_nan=False).encode()
    assert VALIDATOR.is_valid(read(suite.text, "f.yaml").value)
    return suite


@fuzz
@given(st.text() | st.lists(_YAML_BITS, max_size=30).map("".join))
def test_text(text: str) -> None:
    survive(text)


@fuzz
@given(st.binary(max_size=200))
def test_bytes(data: bytes) -> None:
    survive(data)


@fuzz
@given(_VALUES, st.booleans())
def test_values(value: object, flow: bool) -> None:
    survive(yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True))


@fuzz
@given(st.data())
def test_suites_with_a_value_changed(data: st.DataObject) -> None:
    suite: Any = yaml.safe_load(data.draw(st.sampled_from(SHIPPED)))
    for _ in range(data.draw(st.integers(0, 3))):
        _change(suite, data)
    survive(yaml.safe_dump(suite, allow_unicode=True, sort_keys=False))


@fuzz
@given(st.data())
def test_suites_with_characters_changed(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(SHIPPED))
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = min(len(text), begin + data.draw(st.sampled_from([0, 1, 2, 20])))
        text = text[:begin] + data.draw(_YAML_BITS | st.text(max_size=3)) + text[end:]
    survive(text)


@fuzz
@given(st.text() | st.from_regex(r"(method|num_bits|x)=[a-z*\[\]!0-9-]{0,5}(,[a-z]+=.?)*"))
def test_filters(text: str) -> None:
    plain = next(text for text in SHIPPED if '"*"' not in text)  # which would ask for the registry
    corners = expand(parse_suite(plain, "f.yaml"))
    try:
        kept = select(corners, [parse_filter(text)])
    except SuiteError:
        return
    assert kept


def _change(value: Any, data: st.DataObject) -> None:
    """Goes down a random way and sets, deletes or adds something there."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = data.draw(st.sampled_from(keys)) if keys else None
    if key is not None and isinstance(value[key], dict | list) and data.draw(st.integers(0, 3)):
        return _change(value[key], data)
    if key is None or data.draw(st.booleans()):
        new = data.draw(_VALUES)
        value.update({data.draw(_KEYS): new}) if isinstance(value, dict) else value.append(new)
    elif data.draw(st.booleans()):
        del value[key]
    else:
        value[key] = data.draw(_VALUES)
    return None
