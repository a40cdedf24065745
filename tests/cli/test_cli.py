"""The command line as a user meets it: exit codes, messages, quickness."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from qbench.suite.load import packaged_suites


def qbench(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "qbench", *words], capture_output=True, text=True, cwd=cwd)


def rows(what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(qbench("list", what, "--json").stdout)
    return found


def test_help_names_every_verb_at_once() -> None:
    started = time.perf_counter()
    done = qbench("--help")
    assert time.perf_counter() - started < 5  # without torch; its import alone takes seconds
    for verb in (
        "run",
        "plan",
        "list",
        "check",
        "show",
        "report",
        "compare",
        "export",
        "doctor",
        "fetch",
        "schema",
    ):
        assert verb in done.stdout
    assert qbench("--version").stdout.startswith("qbench ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "quikstart"), "did you mean 'quickstart'"),
        (("run", "quickstart", "--filter", "method=absmx"), "did you mean 'absmax'"),
        (("run", "quickstart", "--filter", "method"), "is not KEY=VALUE"),
        (("plan", "nowhere.yaml"), "no such file"),
        (("report", "nowhere"), "no results folder"),
        (("report", "nowhere", "--format", "markdown"), "no results folder"),
        (("show", "nowhere"), "no results folder"),
        (("export", "nowhere", "-o", "x.parquet", "--table", "samples"), "no results folder"),
        (("compare", "nowhere", "nowhere"), "no results folder"),
        (("export", "nowhere", "-o", "x.parquet"), "no results folder"),
        (("check", "absmux"), "did you mean 'absmax'"),
        (("fetch", "smollm"), "did you mean 'smollm2-135m'"),
        (("list", "animals"), "animals"),
        (("run",), "Missing argument"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = qbench(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [], "a mistake left something behind"


def test_lists_hold_what_is_there() -> None:
    assert {"none", "absmax", "zeropoint"} <= {row["name"] for row in rows("methods")}
    assert {row["name"] for row in rows("probes")} == {"perplexity", "memory", "latency", "energy", "tasks"}
    assert {row["source"]: row["here"] for row in rows("models")}["builtin:austen-6m"] is True
    kernels = rows("kernels")
    assert all(kernel["available"] == (kernel["reason"] is None) for kernel in kernels)
    assert "dequant_gemm" in {kernel["name"] for kernel in kernels}
    assert {row["name"] for row in rows("suites")} == set(packaged_suites())


def test_the_schema_accepts_the_packaged_suites_and_refuses_a_wrong_one() -> None:
    schema = json.loads(qbench("schema").stdout)
    validator = jsonschema.Draft202012Validator(schema)
    suites = Path(__file__).resolve().parents[2] / "suites"
    for path in suites.glob("*.yaml"):
        validator.validate(yaml.safe_load(path.read_text()))
    assert not validator.is_valid({"name": "x", "models": [{"sorce": "y"}], "methods": [{"name": "none"}]})


def test_doctor_measures_this_machine() -> None:
    found = json.loads(qbench("doctor", "--json").stdout)
    assert found["cpu"]["cores"] >= 1
    assert found["ceilings"]["cpu"]["copy_bytes_per_s"] > 1e8
    assert found["ceilings"]["cpu"]["gemm_flop_per_s"]["fp32"] > 1e8
    assert found["packages"]["torch"]
    if not found["gpus"]:
        assert found["gpu_reason"]
    assert "GB/s" in qbench("doctor").stdout


def test_the_plan_says_what_cannot_run_and_why(tmp_path: Path) -> None:
    suite = {
        "name": "mixed",
        "models": [{"source": "builtin:austen-6m"}, {"source": "./missing"}],
        "methods": [{"name": "none"}],
        "devices": ["cpu", "cuda:99"],
    }
    (tmp_path / "mixed.yaml").write_text(yaml.safe_dump(suite))
    planned = json.loads(qbench("plan", "mixed.yaml", "--json", cwd=tmp_path).stdout)
    states = {(row["model"]["name"], row["device"]): (row["state"], row["reason"]) for row in planned}
    assert states["austen-6m", "cpu"] == ("run", None)
    assert states["austen-6m", "cuda:99"][0] == "skip"
    assert "cuda:99" in states["austen-6m", "cuda:99"][1]
    assert "no such folder" in states["missing", "cpu"][1]


def test_check_passes_on_the_built_in_methods() -> None:
    for method in ("none", "absmax", "zeropoint"):
        done = qbench("check", method)
        assert done.returncode == 0, done.stdout + done.stderr
