"""`qbench gate` to its verdicts as a CI system has it: exit code, what is printed, and three files agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lxml import etree

from qbench.results.record import Record
from tests.cli.test_cli import qbench
from tests.results import factory
from tests.run.conftest import QUICK

FILES = ("--junit", "gate.xml", "--json", "gate.json", "--markdown", "gate.md")
SUITE = {"name": "quickstart", "models": [{"source": "builtin:austen-6m"}], "methods": [{"name": "none"}]}
MARKS = {0: "✅", 1: "❌", 2: "⛔", 3: "❔"}
TAGS = {"worse": "failure", "missing": "failure", "failed": "failure", "undecided": "error"}
SLOWER = [value * 1.01 for value in factory.LOSSES]


def agreed(done: subprocess.CompletedProcess[str], folder: Path) -> dict[str, Any]:
    """The JSON file, after it was held against everything else that the gate said."""
    found: dict[str, Any] = json.loads((folder / "gate.json").read_text())
    assert found["exit_code"] == done.returncode, done.stderr
    assert done.stdout.splitlines()[-1] == f"gate {found['verdict']}"
    tree = etree.parse(str(folder / "gate.xml"))
    cases = {
        (case.get("classname"), case.get("name")): [child.tag for child in case]
        for case in tree.findall(".//testcase")
    }
    for one in found["findings"]:
        tags = [TAGS[one["verdict"]]] if one["verdict"] in TAGS else []
        assert cases.pop((one["cell"], one["metric"])) == (tags if one["gated"] else ["skipped"])
    assert list(cases.values()) == ([] if found["counts"] else [["error"]]), "the gate as a whole"
    gated = [one["verdict"] for one in found["findings"] if one["gated"]]
    assert {name: gated.count(name) for name in found["counts"]} == found["counts"]
    text = (folder / "gate.md").read_text()
    assert text.startswith(f"### {MARKS[done.returncode]} qbench gate ")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    heads = rows.count(
        "| verdict | cell | metric | baseline → candidate | change | interval | threshold | why |"
    )
    assert len(rows) - heads == len(found["findings"])
    return found


def stored(folder: Path, candidate: list[Record]) -> subprocess.CompletedProcess[str]:
    """What was accepted against another finished run of the same suite, each step a process of its own."""
    before = [factory.record(), factory.record("absmax")]
    factory.write_run(folder / "results", before)
    (folder / "quickstart.yaml").write_text(yaml.safe_dump(SUITE))
    words = ("baseline", "accept", "results/quickstart", "--reason", "first", "--allow-failed")
    assert qbench(*words, cwd=folder).returncode == 0
    run = factory.write_run(folder / "b", candidate, run="20261121T115600Z-ab12ce")
    return qbench(
        "gate", "quickstart.yaml", "--baseline", "results", "--results", str(run), *FILES, cwd=folder
    )


@pytest.mark.parametrize(
    ("candidate", "code", "counts"),
    [
        ([factory.record(), factory.record("absmax")], 0, {"same"}),
        ([factory.record()], 1, {"same", "missing"}),
        (
            [
                factory.record(),
                factory.record("absmax", samples=factory.samples(perplexity=factory.perplexity(SLOWER))),
            ],
            1,
            {"same", "worse"},
        ),
        ([], 3, set()),
    ],
    ids=["fine", "lost", "worse", "nothing"],
)
def test_against_what_was_accepted(
    candidate: list[Record], code: int, counts: set[str], tmp_path: Path
) -> None:
    done = stored(tmp_path, candidate)
    assert done.returncode == code, done.stderr
    assert set(agreed(done, tmp_path)["counts"]) == counts
