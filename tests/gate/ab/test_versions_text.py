"""What the other version is told of a suite: all of it but the section `gate`."""

from __future__ import annotations

import pytest
import yaml

from qbench.gate.ab.versions import text_without_gate
from qbench.suite.load import parse_suite
from qbench.suite.positions import read
from tests.run.conftest import QUICK


def test_the_section_gate_does_not_reach_the_other_version() -> None:
    text = yaml.safe_dump({**QUICK, "methods": [{"name": "none", "label": "é ☃ 😀"}], "seed": 7})
    plain = parse_suite(text, "s.yaml")
    assert text_without_gate(plain) == text
    gated = parse_suite(f"{text}gate: {{prefill_s: 1.5}}\n", "s.yaml")
    assert gated.gate.prefill_s == 1.5
    again = parse_suite(text_without_gate(gated), "s.yaml")
    assert again.model_dump() == plain.model_dump()


BLOCK = "gate:\n  prefill_s: 1.5  # why\n\n# more\n"
HEAD, TAIL = "name: s\nmodels: [{source: m}]\n", "methods:\n- {name: none, label: é ☃}\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (HEAD + BLOCK + TAIL, True),
        (BLOCK + HEAD + TAIL, True),
        (HEAD + TAIL + BLOCK, True),
        ((HEAD + BLOCK + TAIL).replace("\n", "\r\n"), True),
        (HEAD + '"gate": {prefill_s: 1.5,\n  decode_s_per_token: 1.2}\n' + TAIL, True),
        ("{name: s, gate: {prefill_s: 1.5}, models: [{source: m}], methods: [{name: none}]}", True),
        ("{name: s, models: [{source: m}], methods: [{name: none}], gate: {prefill_s: 1.5}}", False),
        (HEAD + "gate: {prefill_s: &x 1.5}\nthreads: 1\nseed: 3\n" + TAIL, True),
        (HEAD + "? gate\n: {prefill_s: 1.5}\n" + TAIL, False),
    ],
)
def test_what_is_left_of_a_suite_stands_where_it_stood(text: str, kept: bool) -> None:
    whole = parse_suite(text, "s.yaml")
    assert whole.gate.prefill_s == 1.5
    left = text_without_gate(whole)
    before, after = read(text, "s.yaml"), read(left, "s.yaml")
    assert after.value == {key: value for key, value in before.value.items() if key != "gate"}
    places = {path: place for path, place in before.values.items() if path and path[0] != "gate"}
    assert ({path: after.values[path] for path in places} == places) is kept
