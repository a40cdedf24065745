"""The YAML reader: values as JSON reads them, positions as an eye counts them, quick refusal of the rest."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.errors import SuiteError
from qbench.suite.positions import MAX_CHARACTERS, MISSING, Position, key_text, read

_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co", "Zl", "Zp"]), max_size=8
)
_SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
)
_JSON = st.recursive(
    _SCALAR | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(_JSON)
def test_reads_json_as_the_json_library_does(value: object) -> None:
    # A key longer than 1024 characters on one line is beyond YAML; the sizes above stay under it.
    text = json.dumps(value, ensure_ascii=False)
    assert repr(read(text, "f").value) == repr(json.loads(text))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),  # text by YAML 1.2, false by 1.1
        ("off", "off"),
        ("True", True),
        ("1e3", 1000.0),  # a number by YAML 1.2, text by 1.1
        (".5", 0.5),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("1:30", "1:30"),  # ninety by YAML 1.1
        ("2024-05-01", "2024-05-01"),  # a date by YAML 1.1
        ("~", None),
        ("", None),
        ("'4'", "4"),
        ("none", "none"),
        ("1_000", "1_000"),
        ("!!str 4", "4"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(written: str, value: object) -> None:
    found = read(f"a: {written}", "f").value["a"]
    assert (type(found), found) == (type(value), value)


def test_positions_point_at_keys_and_values() -> None:
    document = read("name: x\nmethods:\n  - {name: a, num_bits: [4, 3]}\n", "f")
    assert document.keys["methods", 0, "num_bits"] == Position(3, 15)
    assert document.values["methods", 0, "num_bits"] == Position(3, 25)
    assert document.values["methods", 0, "num_bits", 1] == Position(3, 29)
    assert document.lookup(("methods", 0, "num_bits", 1)) == 3
    assert document.lookup(("methods", 7)) is MISSING
    assert key_text(("methods", 0, "num_bits")) == "methods[0].num_bits"


def test_an_alias_stands_for_its_value() -> None:
    assert read("a: &x {b: [1]}\nc: *x", "f").value == {"a": {"b": [1]}, "c": {"b": [1]}}


_LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)

BROKEN = {
    "laughs": (_LAUGHS, "values once aliases are written out"),
    "recursive": ("a: &a {b: [*a]}", "holds itself"),
    "undefined alias": ("a: *b", "undefined alias"),
    "deep flow": ("a: " + "[" * 100_000, "nested deeper"),
    "deep block": ("".join(f"{' ' * i}a:\n" for i in range(500)), "nested deeper"),
    "many values": ("a: [" + "1, " * 50_000 + "]", "more than 10000 values"),
    "long": ("#" * (MAX_CHARACTERS + 1), "characters"),
    "duplicate": ("a: 1\nb: 2\na: 3", "f:3:1: a: given twice (first in line 1)"),
    "duplicate, otherwise written": ('a: 1\n"a": 3', "given twice"),
    "tab": ("a:\n\t- b", "f:2:1: a tab"),
    "nan": ("a: .nan", "f:1:4: a: .nan is no finite number"),
    "infinite": ("a: [1, -.inf]", "f:1:8: a[1]: -.inf"),
    "overflow": ("a: 1e999", "no finite number"),
    "huge": ("a: " + "9" * 100_000, "64 bits"),
    "large": ("a: 9223372036854775808", "64 bits"),
    "nul": ("a: b\nc: \x00", "f:2:4: character U+0000"),
    "escape": ('a: "\\x00"', "control character"),
    "surrogate": ('a: "\\ud800"', "surrogate"),
    "beyond unicode": ('a: "\\UFFFFFFFF"', "f:1:"),
    "version": ("%YAML " + "9" * 5000 + ".1\n---\na: b", "f:1:"),
    "object": ("a: !!python/object/apply:os.system [true]", "is not read"),
    "binary": ("a: !!binary aGk=", "is not read"),
    "wrong tag": ("a: !!int x", "is not read"),
    "set": ("a: !!set {b, c}", "is not read"),
    "merge": ("a: &a {b: 1}\nc: {<<: *a}", "merge keys"),
    "number as key": ("1: a", "f:1:1: a key must be text"),
    "list as key": ("? [a]\n: b", "a key must be text"),
    "two documents": ("a: 1\n---\nb: 2", "second document"),
    "open": ("a: {b: [", "f:1:"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_suite_is_refused_soon_and_with_its_place(name: str) -> None:
    text, expected = BROKEN[name]
    begin = time.process_time()
    with pytest.raises(SuiteError) as caught:
        read(text, "f")
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 500
    assert time.process_time() - begin < 5  # seconds; each takes well under one
