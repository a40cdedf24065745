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

from qbench.gate.baseline.baseline import accept, baseline_file
from qbench.results.store.folders import only_run
from qbench.results.store.record import Record
from tests.cli.test_cli import qbench
from tests.gate.ab.faulty import FAULTS, copied
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


def stored(folder: Path, candidate: list[Record], *options: str) -> list[str]:
    """The words of a gate of another finished run against what was accepted."""
    before = factory.write_run(folder / "a", [factory.record(), factory.record("absmax")])
    accept(only_run(before), baseline_file(folder / "results", "quickstart"), "first", allow_failed=True)
    (folder / "quickstart.yaml").write_text(yaml.safe_dump(SUITE))
    run = factory.write_run(folder / "b", candidate, run="20261121T115600Z-ab12ce")
    return ["gate", "quickstart.yaml", "--baseline", "results", "--results", str(run), *options, *FILES]


def changed(**samples: Any) -> list[Record]:
    return [factory.record(), factory.record("absmax", samples=factory.samples(**samples))]


@pytest.mark.parametrize(
    ("candidate", "options", "code", "counts"),
    [
        (changed(), (), 0, {"same"}),
        (changed()[:1], (), 1, {"same", "missing"}),
        (changed(perplexity=factory.perplexity(SLOWER)), (), 1, {"same", "worse"}),
        (changed(), ("--gate-timed",), 3, {"same", "undecided"}),
        ([], (), 3, set()),
    ],
    ids=["fine", "lost", "worse", "undecided", "nothing"],
)
def test_against_what_was_accepted(
    candidate: list[Record], options: tuple[str, ...], code: int, counts: set[str], tmp_path: Path
) -> None:
    done = qbench(*stored(tmp_path, candidate, *options), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert set(agreed(done, tmp_path)["counts"]) == counts


def test_a_reader_who_leaves_changes_no_exit_code(tmp_path: Path) -> None:
    """`qbench gate … | head -0`: of a broken pipe click would make 1, a regression's."""
    command = [sys.executable, "-m", "qbench", *stored(tmp_path, changed())]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "gate.json").read_text())["exit_code"] == 0


@pytest.mark.slow
def test_two_versions_side_by_side(tmp_path: Path) -> None:
    """One that codes otherwise, and a budget in which nothing that is timed can be told: 1 outranks 3."""
    python = copied(tmp_path / "candidate", {"methods/absmax.py": FAULTS["methods/absmax.py"]}).python
    gate = {"prefill_s": 1.000001, "decode_s_per_token": False}
    suite = {**QUICK, "methods": [{"name": "absmax", "num_bits": 4}], "threads": 1, "gate": gate}
    suite["quality"] = False
    suite["latency"] = {"prompt_lengths": [8], "generated_tokens": 3, "repetitions": 2}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(suite))
    words = ("--baseline-python", sys.executable, "--candidate-python", python, "--budget", "0.5")
    done = qbench("gate", "tiny.yaml", *words, *FILES, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    found = agreed(done, tmp_path)["findings"]
    assert "codes" in [one["metric"] for one in found if one["verdict"] == "worse"]
    assert [one["metric"] for one in found if one["gated"] and one["verdict"] == "undecided"] == ["prefill_s"]
