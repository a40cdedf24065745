"""JUnit XML of a gate: a testcase for each cell × metric, for the test view of a CI system.

`worse`, `missing` and `failed` are failures. `undecided` is an error and not a skip: a CI system shows
skipped tests as fine, and the gate's exit code then is 3, not 0. A finding that is shown and not gated is
skipped. A gate that was refused or measured nothing has one testcase, which is an error, so that the file is
never empty and green.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as xml

from qbench.gate.report.words import figures, ranked, whole
from qbench.gate.verdicts.finding import Finding, GateResult
from qbench.report.text.sanitize import plain

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold, escaped or not."""


def junit(result: GateResult) -> bytes:
    """The whole file, in UTF-8."""
    cases = [_case(one) for one in ranked(result.findings)]
    why = result.refused or result.nothing
    if why is not None or not cases:
        cases.insert(0, _whole(result, why or "the gate compared nothing"))
    counts = {
        name: str(sum(case.find(tag) is not None for case in cases))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    time_s = f"{result.spent_s or 0:.3f}"
    about = {
        "name": _legal(f"qbench gate {result.suite}"),
        "tests": str(len(cases)),
        **counts,
        "time": time_s,
    }
    suite = xml.Element("testsuite", about)
    suite.append(_properties(result))
    suite.extend(cases)
    del counts["skipped"]  # a sum over suites has no such attribute
    root = xml.Element(
        "testsuites", {"name": "qbench gate", "tests": about["tests"], **counts, "time": time_s}
    )
    root.append(suite)
    xml.indent(root)
    text: bytes = xml.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + text + b"\n"


def _properties(result: GateResult) -> xml.Element:
    found = xml.Element("properties")
    facts = [("verdict", result.verdict), ("against", result.against)]
    facts += [("note", line) for line in result.notes]
    facts += [("differs", line) for line in result.environment] + [
        ("accepted", line) for line in result.accepted
    ]
    for name, value in facts:
        xml.SubElement(found, "property", {"name": name, "value": _legal(value)})
    return found


def _case(finding: Finding) -> xml.Element:
    case = _testcase(finding.cell, finding.metric)
    said = ": ".join(part for part in (figures(finding), plain(finding.reason)) if part)
    if not finding.gated:
        _mark(case, "skipped", "shown, not gated: ", finding.verdict, said)
    elif finding.red:
        _mark(case, "failure", f"{finding.verdict}: ", finding.verdict, said)
    elif finding.verdict == "undecided":
        _mark(case, "error", "undecided: ", "undecided", said)
    return case


def _whole(result: GateResult, why: str) -> xml.Element:
    case = _testcase(f"qbench gate {result.suite}", "gate")
    _mark(case, "error", "", "refused" if result.refused is not None else "nothing", whole(why))
    return case


def _testcase(cell: str, metric: str) -> xml.Element:
    return xml.Element(
        "testcase", {"classname": _legal(plain(cell)), "name": _legal(plain(metric)), "time": "0"}
    )


def _mark(case: xml.Element, tag: str, before: str, kind: str, said: str) -> None:
    about = {"message": _legal(before + said)}
    if tag != "skipped":
        about["type"] = kind
    xml.SubElement(case, tag, about).text = _legal(said)


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", whole(text))
