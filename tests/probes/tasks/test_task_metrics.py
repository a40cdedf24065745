"""Accuracy columns and the frame of tasks against hand counts, on samples as the probe stores them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.probes.tasks.metrics import mcnemar_p, stderr_of_mean
from qbench.results.frames.frame import from_records
from qbench.results.frames.task_frame import TASK_COLUMNS, load_tasks, task_results
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS
from tests.results import factory


def task(name: str, outcomes: list[float], metric: str = "acc", **changes: Any) -> dict[str, Any]:
    value, error = float(np.mean(outcomes)), stderr_of_mean(outcomes)
    return {
        "name": name,
        "version": 1.0,
        "output_type": "multiple_choice",
        "num_fewshot": 0,
        "documents": len(outcomes),
        "documents_sha256": "d0c5",
        "results": {f"{metric},none": {"value": value, "stderr": error, "higher_is_better": True}},
        "items": {f"{metric},none": outcomes},
        "log_likelihoods": [[-1.0, -2.0] for _ in outcomes],
        **changes,
    }


def tasked(*tasks: dict[str, Any], method: str = "none", **changes: Any) -> Record:
    entries = changes.pop("entries", {one["name"]: [one["name"]] for one in tasks})
    sample = {"unit": "nat", "tasks": list(tasks), "groups": changes.pop("groups", []), "entries": entries}
    return factory.record(method, samples=factory.samples(tasks=sample), **changes)


RIGHT, WRONG = [1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]


def test_accuracy_is_the_mean_over_the_names_of_the_suite() -> None:
    groups = [
        {"name": "many", "results": {"acc,none": {"value": 0.3, "stderr": 0.1, "higher_is_better": True}}}
    ]
    record = tasked(
        task("a", RIGHT),
        task("b", WRONG, metric="exact_match"),
        task("t1", [1.0, 1.0]),
        task("t2", [0.0, 0.0]),
        task("ppl", [2.0, 3.0], metric="word_perplexity"),
        groups=groups,
        entries={"a": ["a"], "b": ["b"], "tag": ["t1", "t2"], "many": ["many"], "ppl": ["ppl"]},
    )
    assert METRICS["task_accuracy"].value(record) == pytest.approx((5 / 8 + 3 / 8 + 0.5 + 0.3) / 4)
    assert METRICS["task_documents"].value(record) == 8 + 8 + 2 + 2 + 2
    row = from_records([record]).iloc[0]
    a, b = stderr_of_mean(RIGHT), stderr_of_mean(WRONG)
    assert a is not None
    assert b is not None
    assert row["task_accuracy_stderr"] == pytest.approx(math.sqrt(a**2 + b**2 + 0 + 0.1**2) / 4)
    assert json.loads(row["tasks"])["a"]["acc,none"]["value"] == 5 / 8
    assert set(json.loads(row["tasks"])) == {"a", "b", "t1", "t2", "ppl", "many"}


def test_a_cell_without_an_accuracy_says_why() -> None:
    record = tasked(task("ppl", [2.0, 3.0], metric="word_perplexity"))
    assert METRICS["task_accuracy"].value(record) is None
    assert METRICS["task_accuracy"].reason(record) == "no task of the suite has acc or exact_match"
    plain = factory.record()
    assert METRICS["task_accuracy"].reason(plain) == "tasks was not asked for"
    frame = from_records([plain, record])
    assert pd.isna(frame["tasks"][0])
    assert frame["task_accuracy_stderr"].isna().all()


def test_one_unknown_error_makes_the_mean_s_unknown() -> None:
    alone = task("one", [1.0])
    assert pd.isna(from_records([tasked(task("a", RIGHT), alone)])["task_accuracy_stderr"][0])


def test_the_change_against_the_base_is_paired() -> None:
    frame = task_results([tasked(task("a", RIGHT)), tasked(task("a", WRONG), method="absmax")])
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == TASK_COLUMNS
    base, other = frame.iloc[0], frame.iloc[1]
    assert (base["change"], base["lost"], base["gained"], base["mcnemar_p"]) == (0, 0, 0, 1)
    gaps = np.array(WRONG) - np.array(RIGHT)
    assert other["base_value"] == 5 / 8
    assert other["change"] == pytest.approx(gaps.mean())
    assert other["change_stderr"] == pytest.approx(gaps.std(ddof=1) / math.sqrt(8))
    assert (other["lost"], other["gained"]) == (3, 1)
    assert other["mcnemar_p"] == pytest.approx(2 * (1 + 4) / 16)
    assert other["method"] == "absmax"


@pytest.mark.parametrize(
    "base",
    [
        task("a", RIGHT, documents_sha256="another"),
        task("a", RIGHT, metric="exact_match"),
        task("b", RIGHT),
    ],
)
def test_other_documents_are_not_paired(base: dict[str, Any]) -> None:
    frame = task_results([tasked(base), tasked(task("a", WRONG), method="absmax")])
    assert frame.iloc[-1][["base_value", "change", "change_stderr", "mcnemar_p"]].isna().all()


def test_graded_outcomes_have_an_error_and_no_mcnemar() -> None:
    graded = [task("a", [0.5, 0.25, 1.0]), task("a", [0.25, 0.25, 0.5])]
    other = task_results([tasked(graded[0]), tasked(graded[1], method="absmax")]).iloc[1]
    assert other["change_stderr"] == pytest.approx(np.std([0.25, 0, 0.5], ddof=1) / math.sqrt(3))
    assert pd.isna(other["mcnemar_p"])


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_s_p_is_the_binomial_sum(lost: int, gained: int) -> None:
    count = lost + gained
    chances = [math.comb(count, k) / 2**count for k in range(count + 1)]
    uneven = abs(lost - gained)
    p = sum(chance for k, chance in enumerate(chances) if abs(count - 2 * k) >= uneven)
    assert mcnemar_p(lost, gained) == pytest.approx(p)
    assert mcnemar_p(gained, lost) == mcnemar_p(lost, gained)


def test_many_documents_are_no_trouble() -> None:
    assert mcnemar_p(5000, 5000) == 1.0
    assert 0 < mcnemar_p(4900, 5300) < 1e-4  # z = 3.96


def test_the_rows_of_a_folder(tmp_path: Path) -> None:
    records = [tasked(task("a", RIGHT)), tasked(task("a", WRONG), method="absmax"), factory.record("hqq")]
    factory.write_run(tmp_path, records)
    frame = load_tasks(tmp_path)
    assert list(frame["method"]) == ["none", "absmax"] or set(frame["method"]) == {"none", "absmax"}
    table = frame.pivot_table(index="method", columns="task", values="value")
    assert table.loc["absmax", "a"] == 3 / 8
    assert task_results([]).empty
