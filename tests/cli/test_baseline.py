"""`qbench baseline` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.test_cli import qbench
from tests.results import factory


def test_a_run_is_accepted_shown_and_kept(tmp_path: Path) -> None:
    records = [factory.record(), factory.record("absmax")]
    run = factory.write_run(tmp_path / "results", records)
    words = ("baseline", "accept", "results/quickstart", "--reason", "first [bold] numbers", "--allow-failed")
    done = qbench(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (
        f"accepted quickstart/{run.name}: 2 of 2 cells ok; results/baselines/quickstart/baseline.json\n"
        "cells: 2 new, 0 dropped, 0 changed"
    )
    (tmp_path / "results/quickstart" / run.name / f"{records[1].cell.id}.json").unlink()
    assert qbench(*words, cwd=tmp_path).returncode == 2
    again = qbench(*words, "--drop-cells", cwd=tmp_path)
    assert again.stdout.splitlines()[1] == "cells: 0 new, 1 dropped, 0 changed"
    shown = qbench("baseline", "show", "quickstart", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "first [bold] numbers" in shown.stdout
    assert "austen-6m none bf16 cpu" in shown.stdout
    asked = qbench("baseline", "show", "results/baselines/quickstart/baseline.json", "--json", cwd=tmp_path)
    assert json.loads(asked.stdout)["acceptances"][0]["reason"] == "first [bold] numbers"


def test_what_cannot_be_accepted_or_shown_ends_in_2(tmp_path: Path) -> None:
    factory.write_run(tmp_path / "results", [factory.record(), factory.failed()])
    for words, said in (
        (("accept", "results"), "Missing option"),
        (("accept", "results", "--reason", " "), "needs a reason"),
        (("accept", "results", "--reason", "x"), "did not end well"),
        (("accept", "nowhere", "--reason", "x"), "no results folder"),
        (("show", "quickstart"), "no baseline results/baselines/quickstart/baseline.json"),
    ):
        done = qbench("baseline", *words, cwd=tmp_path)
        assert done.returncode == 2, words
        assert said in done.stderr, words
    file = tmp_path / "results/baselines/quickstart/baseline.json"
    assert not file.exists()
    file.parent.mkdir(parents=True)
    file.write_text('{"schema": 1,')
    done = qbench("baseline", "show", "quickstart", cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
