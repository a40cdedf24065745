"""The gate's outputs, each read by another program, with friendly texts and with hostile ones."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import junitparser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from qbench.cli.gate_output import Outputs
from qbench.gate.report.gate_markdown import MOST_CHARACTERS, markdown
from qbench.gate.report.gate_text import line, text
from qbench.gate.report.github import add_summary, annotation_lines, on_github
from qbench.gate.report.junit import junit
from qbench.gate.report.words import change, interval, ranked, threshold, value
from qbench.gate.verdicts.finding import GateResult
from qbench.report.text.sanitize import plain
from qbench.results.compare.comparable import refusal
from tests.gate.report.gate_results import HOSTILE, finding, hostile, result

SCHEMA = etree.RelaxNG(etree.parse(str(Path(__file__).with_name("junit.rng"))))
VERDICTS = ("worse", "failed", "missing", "undecided", "better", "same", "new")
EVERY = result(
    *(finding(one) for one in VERDICTS), finding("worse", gated=False), spent_s=93.2, laps=41, budget_s=300
)


def outcomes(found: GateResult) -> dict[str, Any]:
    """Test name and class → kind of outcome, as junitparser reads it."""
    parsed = junitparser.JUnitXml.fromroot(junitparser.JUnitXml.fromstring(junit(found))._elem)
    return {
        case.result[0].type or "": type(case.result[0]) for suite in parsed for case in suite if case.result
    }


def test_junit_is_valid_and_counts_what_it_holds() -> None:
    tree = etree.parse(BytesIO(junit(EVERY)))
    SCHEMA.assertValid(tree)
    (suite,) = tree.getroot()
    found = {kind: len(tree.findall(f".//{kind}")) for kind in ("testcase", "failure", "error", "skipped")}
    assert found == {"testcase": 8, "failure": 3, "error": 1, "skipped": 2}
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["8", "3", "1", "2"]
    assert [tree.getroot().get(name) for name in ("tests", "failures", "errors")] == ["8", "3", "1"]


def test_junit_as_another_program_reads_it() -> None:
    assert outcomes(EVERY) == {
        "worse": junitparser.Failure,
        "failed": junitparser.Failure,
        "missing": junitparser.Failure,
        "undecided": junitparser.Error,
        "": junitparser.Skipped,
    }


@pytest.mark.parametrize(
    "empty",
    [
        result(),
        result(refused="other machine"),
        result(nothing="no cell"),
        result(finding(), nothing="no cell"),
    ],
)
def test_junit_is_never_empty_and_green(empty: GateResult) -> None:
    tree = etree.parse(BytesIO(junit(empty)))
    SCHEMA.assertValid(tree)
    assert len(tree.findall(".//error")) == 1


def test_hostile_texts_break_no_junit() -> None:
    content = junit(hostile())
    tree = etree.parse(BytesIO(content))
    SCHEMA.assertValid(tree)
    assert len(tree.findall(".//testcase")) == 7
    assert "<script>" in tree.find(".//testcase").get("name"), "as text"
    assert b"<script>" not in content


def test_hostile_texts_break_no_json(tmp_path: Path) -> None:
    assert Outputs(json=tmp_path / "gate.json").publish(hostile()) == 1
    found = json.loads((tmp_path / "gate.json").read_bytes())
    assert found["findings"][0]["cell"] == HOSTILE
    assert found["exit_code"] == 1


def test_hostile_texts_break_no_terminal_line() -> None:
    shown = text(hostile(), every=True)
    assert all(character == "\n" or character.isprintable() for character in shown)
    assert len(shown.splitlines()) == 1 + 3 + 7 + 1, "head, notes and the like, findings, verdict"
    assert "\\x1b[31m" in shown


def rows(shown: str) -> list[list[str]]:
    """Cells of the tables, split where a bar is not escaped."""
    lines = [one for one in shown.splitlines() if one.startswith("| ") and "---" not in one]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", one)[1:-1]] for one in lines]


def test_hostile_texts_break_no_markdown() -> None:
    shown = markdown(hostile())
    assert {len(row) for row in rows(shown)} == {8}
    bare = shown.replace("<details><summary>The rest</summary>", "").replace("</details>", "")
    assert not re.search(r"<\w", bare), "no tag"
    assert "@everyone" not in shown
    assert "http://" not in shown
    assert not re.search(r"(?<!\\)\[link", shown)


def test_markdown_shows_what_is_not_fine_and_folds_the_rest() -> None:
    shown = markdown(EVERY)
    head, _, folded = shown.partition("<details>")
    assert "❌ qbench gate regression: 1 worse, 1 missing, 1 failed" in head
    assert [row[0] for row in rows(head)[1:]] == [
        "**failed**",
        "**missing**",
        "**worse**",
        "undecided",
        "better",
    ]
    assert [row[0] for row in rows(folded)[1:]] == ["same", "worse (shown)", "new (shown)"]
    assert rows(head)[3][3:7] == ["12.1 ms → 12.73 ms", r"\+5.2 %", r"\+4.1 % to \+6.3 %", r"\+3 %"]
    assert "Timed: 93 s of a budget of 300 s, at most 41 paired rounds a cell." in shown


def test_a_comment_stays_within_what_github_takes() -> None:
    many = [finding("worse", cell=f"cell {index}", reason=HOSTILE) for index in range(3000)]
    shown = markdown(result(*many, *(finding("same") for _ in range(3000))))
    assert len(shown) < 65_536
    assert len(shown) > MOST_CHARACTERS / 2
    left = [int(count) for count in re.findall(r"… and (\d+) more", shown)]
    assert sum(left) + len(rows(shown)) - 2 == 6000


def decoded(command: str) -> tuple[str, str, str]:
    """A workflow command as the runner reads it: kind, title, message."""
    match = re.fullmatch(r"::(\w+) title=([^:,\r\n]*)::([^\r\n]*)", command)
    assert match is not None, command
    codes = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}
    title, message = (
        re.sub("%(0D|0A|3A|2C|25)", lambda one: codes[one[0]], part) for part in match.groups()[1:]
    )
    return match[1], title, message


def test_annotations_name_what_is_red_and_what_is_undecided() -> None:
    found = [decoded(one) for one in annotation_lines(EVERY)]
    assert [(kind, title.partition(":")[0]) for kind, title, _ in found] == [
        ("error", "failed"), ("error", "missing"), ("error", "worse"), ("warning", "undecided"),
    ]  # fmt: skip
    assert found[2][2].startswith("12.1 ms → 12.73 ms, +5.2 % (+4.1 % to +6.3 %), threshold +3 %")
    assert annotation_lines(result(finding("same"))) == []
    assert [decoded(one)[2] for one in annotation_lines(result(refused="a: b, 5 %"))] == ["a: b, 5 %"]


def test_hostile_texts_make_no_command_of_their_own() -> None:
    shown = annotation_lines(hostile())
    assert len(shown) == 4
    for one in shown:
        kind, title, message = decoded(one)
        assert kind in ("error", "warning")
        assert plain(HOSTILE) in message
        assert plain(HOSTILE) in title


def test_only_so_many_annotations() -> None:
    shown = [decoded(one) for one in annotation_lines(result(*(finding("worse") for _ in range(25))))]
    assert len(shown) == 10
    assert shown[-1][2] == "and 16 more"


def test_the_summary_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_text("before\n")
    add_summary(EVERY, {"GITHUB_STEP_SUMMARY": str(path)})
    assert path.read_text() == f"before\n{markdown(EVERY)}\n"
    add_summary(EVERY, {})
    assert on_github({"GITHUB_ACTIONS": "true"})
    assert not on_github({})


def test_the_terminal_lists_the_worst_first_and_ends_with_the_verdict() -> None:
    shown = text(EVERY).splitlines()
    assert shown[0] == "gate: suite quickstart against main (0a1b2c3d4e5f)"
    assert [one.split()[0] for one in shown[1:6]] == ["failed", "missing", "worse", "undecided", "better"]
    assert shown[3] == (
        "worse     austen-6m int4 bf16 cpu: decode_s_per_token: 12.1 ms → 12.73 ms, "
        "+5.2 % (+4.1 % to +6.3 %), threshold +3 %"
    )
    assert shown[-1] == "gate regression: 1 worse, 1 missing, 1 failed (1 same, 1 better, 1 undecided)"
    assert "same" not in "".join(shown[1:6])
    assert any(one.startswith("same ") for one in text(EVERY, every=True).splitlines())


def test_numbers_in_words() -> None:
    falls = finding("worse", metric="decode_tokens_per_s", change=0.95, low=0.94, high=None, threshold=1.03)
    assert (change(falls), interval(falls), threshold(falls)) == ("-5 %", "-6 % to ?", "-2.91 %")
    gap = finding("worse", metric="top1_agreement", change=-0.02, low=None, high=None, threshold=0.005)
    assert (change(gap), interval(gap), threshold(gap)) == ("-0.02", "", "-0.005")
    assert value(finding(metric="weight_bytes"), 11541248.0) == "11541248 B"
    assert value(finding(), 2.5) == "2.5 s"
    assert value(finding(), None) == "–"
    assert value(finding("worse", metric="kernels"), "dequant 1-128") == "dequant 1-128"
    numberless = dict.fromkeys(("change", "baseline", "candidate", "low", "high", "threshold"))
    assert line(finding("missing", reason="gone", **numberless)).endswith("decode_s_per_token: gone")
    ran = {**numberless, "baseline": "a 1-32", "candidate": "a 1-32"}
    fell = "1 layer changed: q_proj fell back: no compiler"
    assert line(finding("worse", "kernels", reason=fell, **ran)).endswith(fell), "what ran looks the same"


def test_further_beyond_the_threshold_comes_first() -> None:
    found = [
        finding("worse", change=1.05),
        finding("worse", metric="decode_tokens_per_s", change=0.8),
        finding("worse", change=1.1),
        finding("worse", gated=False, change=9.0),
    ]
    assert [one.change for one in ranked(found)] == [0.8, 1.1, 1.05, 9.0]


@given(st.text(alphabet=st.characters(), max_size=40))
def test_any_text_is_one_line_that_every_format_takes(anything: str) -> None:
    shown = plain(anything)
    assert all(one.isprintable() for one in shown)
    found = result(finding("worse", cell=anything, reason=anything, metric=anything), against=anything)
    SCHEMA.assertValid(etree.parse(BytesIO(junit(found))))
    assert {len(row) for row in rows(markdown(found))} == {8}
    for command in annotation_lines(found):
        decoded(command)


MANY = tuple(f"packages.number{index}: A: {'1' * 60}; B: {'2' * 60}" for index in range(30))
"""Differences of two environments, several pages of them."""


def test_a_refusal_is_whole_in_every_output() -> None:
    why = refusal(MANY)
    assert why is not None
    assert len(why) > 4000
    found = result(refused=why, environment=MANY)
    for output in (
        text(found),
        decoded(annotation_lines(found)[0])[2],
        etree.parse(BytesIO(junit(found))).find(".//error").get("message"),
        markdown(found),
    ):
        assert ",".join(line.partition(":")[0] for line in MANY) in output
        assert not output.rstrip().endswith("…")
    long = f"variables.LD_LIBRARY_PATH: A: {'/a' * 400}; B: the end"
    for output in (text(result(environment=[long])), markdown(result(environment=[long]))):
        assert "B: the end" in output


def test_a_refusal_has_a_heading_of_one_word() -> None:
    lines = markdown(result(refused="a *b* differs", environment=("a: A: 1; B: 2",))).splitlines()
    assert lines[:5] == [
        "### ⛔ qbench gate refused",
        "",
        r"suite quickstart against main \(0a1b2c3d4e5f\)",
        "",
        r"a \*b\* differs",
    ]
    assert "- Differs: a: A: 1; B: 2" in lines


def test_no_refusal_is_longer_than_a_comment_may_be() -> None:
    endless = result(
        finding(), refused="*@" * 50_000, environment=[HOSTILE * 20] * 1000, accepted=["x" * 20_000] * 9
    )
    shown = markdown(endless)
    assert len(shown) < 65_536
    listed = sum(line.startswith("- Differs: a") for line in shown.splitlines())
    (left,) = re.findall(r"Differs: … and (\d+) more; the JSON file has them all", shown)
    assert listed > 0
    assert listed + int(left) == 1000
