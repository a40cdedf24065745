"""Gates of real processes: two environments, and what is found between them."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import qbench
from qbench.cli.app import app
from qbench.errors import SuiteError
from qbench.gate.ab import compare as ab
from qbench.gate.ab import install
from qbench.gate.ab.versions import Role, Version, opened
from qbench.gate.ab.workers import WorkerHandle, Workers
from qbench.gate.verdicts.finding import Finding, GateResult
from qbench.run.executors.local.executor import LocalExecutor
from qbench.suite.load import parse_suite
from qbench.suite.spec import Suite
from tests.gate.ab.faulty import FAULTS, copied
from tests.run.conftest import QUICK, suite

LATENCY = {"prompt_lengths": [8], "generated_tokens": 6, "repetitions": 2}
UNTIMED = {"prefill_s": False, "decode_s_per_token": False}


@pytest.fixture
def twins(executor: LocalExecutor) -> dict[Role, Version]:
    """Both versions on one warm server."""
    here = install.here()
    return {
        "baseline": Version("baseline", here, executor),
        "candidate": Version("candidate", here, executor),
    }


def by_cell(result: GateResult) -> dict[tuple[str, str], Finding]:
    return {
        (one.cell.removeprefix("austen-6m ").removesuffix(" bf16 cpu"), one.metric): one
        for one in result.findings
    }


def gate_suite(folder: Path, methods: list[dict[str, Any]], **changes: Any) -> Suite:
    return suite(methods, folder, **{"latency": LATENCY, "memory": {}, "threads": 1, **changes})


@pytest.fixture(scope="module")
def faulty(
    tmp_path_factory: pytest.TempPathFactory, executor: LocalExecutor
) -> Iterator[dict[Role, Version]]:
    """This tree against the copy in which everything is wrong."""
    copy = copied(tmp_path_factory.mktemp("faulty") / "candidate", FAULTS)
    with opened("candidate", copy) as candidate:
        yield {"baseline": Version("baseline", install.here(), executor), "candidate": candidate}


@pytest.fixture
def warm_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later passes fork from the servers that there are, since starting new ones takes ten times as long; and
    few laps of a load are enough, however noisy the machine."""
    monkeypatch.setattr(Version, "restart", lambda side: None)
    monkeypatch.setattr("qbench.gate.timing.process_starts.TARGET_ERROR", 1.0)


@pytest.mark.slow
def test_every_kind_of_regression_is_found_and_nothing_else(
    tmp_path: Path, faulty: dict[Role, Version]
) -> None:
    slow = {"match": {"num_bits": "8"}, "decode_s_per_token": 1.3}
    narrow = {"match": {"num_bits": "7"}, "quantize_s": 4.0}
    loaded = gate_suite(
        tmp_path,
        [{"name": "none"}, {"name": "absmax", "num_bits": [8, 7, 6, 5, 4, 3]}],
        gate={**UNTIMED, "overrides": [slow, narrow], "budget_s": 30.0},
    )
    result = ab.compare(loaded, faulty, ab.Order(confirm=False))
    assert result.exit_code == 1
    found = by_cell(result)
    red = {key: one.verdict for key, one in found.items() if one.red}
    may = {key for key in red if key[0] == "absmax num_bits=5" or key[1] == "top1_agreement"}
    assert {key: verdict for key, verdict in red.items() if key not in may} | {
        ("absmax num_bits=5", "kernels"): red["absmax num_bits=5", "kernels"]
    } == {
        ("absmax num_bits=8", "decode_s_per_token"): "worse",
        ("absmax num_bits=7", "quantize_s"): "missing",
        ("absmax num_bits=6", "status"): "missing",
        ("absmax num_bits=5", "kernels"): "worse",
        ("absmax num_bits=4", "codes"): "worse",
        ("absmax num_bits=4", "perplexity"): "worse",
        ("absmax num_bits=4", "perplexity_ratio"): "worse",
        ("absmax num_bits=4", "kl_divergence"): "worse",
        ("absmax num_bits=4", "weight_error"): "worse",
        ("absmax num_bits=3", "status"): "failed",
    }
    slowed = found["absmax num_bits=8", "decode_s_per_token"]
    assert slowed.candidate is not None
    assert slowed.baseline is not None
    assert slowed.candidate - slowed.baseline > 0.015  # type: ignore[operator]
    assert "dequant" in found["absmax num_bits=5", "kernels"].reason
    assert "no room on purpose" in found["absmax num_bits=7", "quantize_s"].reason
    assert (found["none", "prefill_s"].gated, found["none", "prefill_s"].samples) == (False, 5)
    assert "SIGKILL" in found["absmax num_bits=3", "status"].reason
    assert {one.verdict for (cell, _), one in found.items() if cell == "none" and one.gated} == {"same"}
    assert {one.verdict for (cell, name), one in found.items() if cell == "absmax num_bits=8" and one.gated
            and name != "decode_s_per_token"} == {"same"}  # fmt: skip


def slowed_suite(folder: Path) -> Suite:
    gate = {"prefill_s": False, "decode_s_per_token": 1.3, "budget_s": 60.0}
    short = {**LATENCY, "generated_tokens": 2}
    return gate_suite(folder, [{"name": "absmax", "num_bits": 8}], gate=gate, latency=short)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_servers")
def test_a_slowdown_is_confirmed_by_processes_that_were_started_afterwards(
    tmp_path: Path, faulty: dict[Role, Version]
) -> None:
    lines: list[str] = []
    result = ab.compare(slowed_suite(tmp_path), faulty, ab.Order(heard=lines.append))
    found = by_cell(result)["absmax num_bits=8", "decode_s_per_token"]
    assert (found.verdict, result.exit_code) == ("worse", 1)
    assert "pairs of processes" in found.reason
    passes = [line for line in lines if line.startswith("pass ")]
    least = math.ceil(math.log2(1 / 0.05))  # one comparison, and a bet doubles its stake at most
    assert len(passes) >= least == 5, "fewer pairs of processes than that never say it"


@pytest.mark.slow
@pytest.mark.usefixtures("warm_servers")
def test_a_baseline_that_is_killed_in_a_later_load_is_no_candidate_that_is_fine(
    tmp_path: Path, faulty: dict[Role, Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    handles: list[WorkerHandle] = []
    start = Workers.start

    def noted(workers: Workers, *arguments: Any, **options: Any) -> WorkerHandle:
        handles.append(start(workers, *arguments, **options))
        return handles[-1]

    def heard(line: str) -> None:
        if line.startswith("pass 3"):
            newest = next(handle for handle in reversed(handles) if handle.version.role == "baseline")
            (pid,) = newest.version.executor.process_ids([newest.running.job])
            os.kill(pid, signal.SIGKILL)

    monkeypatch.setattr(Workers, "start", noted)
    result = ab.compare(slowed_suite(tmp_path), faulty, ab.Order(heard=heard))
    found = by_cell(result)
    decode = found["absmax num_bits=8", "decode_s_per_token"]
    assert (decode.verdict, decode.gated, result.exit_code) == ("undecided", True, 3)
    assert "the baseline's worker ended in load 3: failed: the worker was killed by SIGKILL" in decode.reason
    assert found["absmax num_bits=8", "perplexity"].verdict == "same"
    assert len(handles) == 6


class Elsewhere(Version):
    """A side whose plan says that it has another torch."""

    def plan(self, suite: Suite, rules: Any) -> None:
        super().plan(suite, rules)
        self.environment["packages"] = {**self.environment["packages"], "torch": "1.0"}


def test_another_environment_is_refused_unless_it_is_accepted(
    tmp_path: Path, twins: dict[Role, Version]
) -> None:
    other = Elsewhere("candidate", install.here(), twins["baseline"].executor)
    versions: dict[Role, Version] = {**twins, "candidate": other}
    loaded = gate_suite(tmp_path, [{"name": "none"}], gate=UNTIMED, quality=False)
    refused = ab.compare(loaded, versions, ab.Order())
    assert (refused.exit_code, refused.findings) == (2, ())
    assert refused.verdict.startswith("refused: baseline (A) and candidate (B) run in different environments")
    assert "B: 1.0" in refused.verdict
    assert "--accept-environment packages.torch" in refused.verdict
    taken = ab.compare(loaded, versions, ab.Order(accept=["packages.torch"]))
    assert taken.refused is None
    assert [line.partition(":")[0] for line in taken.accepted] == ["packages.torch"]


def test_the_command_line_accepts_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ab.Order] = []

    def noted(loaded: Suite, ref: str, order: ab.Order) -> GateResult:
        seen.append(order)
        return GateResult(loaded.name, nothing="a test")

    monkeypatch.setattr("qbench.gate.command.against_commit", noted)
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**QUICK, "methods": [{"name": "none"}]}))
    words = ["gate", str(path), "--against", "HEAD", "--accept-environment", "threads,cpu"]
    done = CliRunner().invoke(app, [*words, "--accept-environment", "python"])
    assert done.exit_code == 3
    assert seen[0].accept == ["threads", "cpu", "python"]


@pytest.mark.slow
def test_a_version_against_itself_is_green(tmp_path: Path, twins: dict[Role, Version]) -> None:
    gate = {"prefill_s": 4.0, "decode_s_per_token": 4.0, "quantize_s": 4.0, "budget_s": 900.0}
    loaded = gate_suite(tmp_path, [{"name": "none"}, {"name": "absmax", "num_bits": 4}], gate=gate)
    lines: list[str] = []
    order = ab.Order(confirm=False, heard=lines.append, keep=tmp_path / "kept")
    result = ab.compare(loaded, twins, order)
    assert (result.exit_code, result.counts.keys()) == (0, {"same"})
    assert result.spent_s is not None
    assert 0 < result.spent_s < 900
    found = by_cell(result)
    assert found["absmax num_bits=4", "quantize_s"].gated
    assert found["absmax num_bits=4", "codes"].verdict == "same"
    assert found["absmax num_bits=4", "perplexity"].reason == "the very same number"
    timed = [
        found[cell, name]
        for cell in ("none", "absmax num_bits=4")
        for name in ("prefill_s", "decode_s_per_token")
    ]
    assert all(one.gated and one.samples is not None and one.samples > 5 for one in timed)
    assert found["none", "peak_memory_bytes"].gated is False
    assert any(line.startswith("pass 1") for line in lines)
    kept = qbench.load(tmp_path / "kept", runs="all")
    assert sorted(run.rpartition("-")[2] for run in kept["run"]) == ["baseline"] * 2 + ["candidate"] * 2
    assert set(kept["latency_repetitions"]) == {one.samples for one in timed}


def test_a_suite_of_which_no_cell_can_run_measured_nothing(
    tmp_path: Path, twins: dict[Role, Version]
) -> None:
    result = ab.compare(gate_suite(tmp_path, [{"name": "none"}], devices=["cuda:7"]), twins, ab.Order())
    assert result.exit_code == 3
    assert result.verdict == "nothing measured: no cell can run here on both versions"


def test_records_that_cannot_be_kept_do_not_cost_the_verdict(
    tmp_path: Path, twins: dict[Role, Version]
) -> None:
    (tmp_path / "tiny").write_text("stands where the suite's folder should be made")
    result = ab.compare(
        gate_suite(tmp_path, [{"name": "none"}], devices=["cuda:7"]), twins, ab.Order(keep=tmp_path)
    )
    assert (result.exit_code, result.notes) == (3, ())
    assert result.unkept is not None
    assert str(tmp_path / "tiny") in result.unkept


def test_a_suite_that_a_side_cannot_plan_is_an_error(tmp_path: Path, twins: dict[Role, Version]) -> None:
    wrong = gate_suite(tmp_path, [{"name": "absmax", "num_bits": 99}])
    with pytest.raises(SuiteError, match=r"baseline qbench .* cannot plan the suite"):
        ab.compare(wrong, twins, ab.Order())
    unmatched = gate_suite(tmp_path, [{"name": "none"}])
    with pytest.raises(SuiteError, match="absmax"):
        ab.compare(unmatched, twins, ab.Order(rules=[{"method": ["absmax"]}]))


def test_an_error_of_the_other_side_points_at_the_line_of_the_file(
    tmp_path: Path, twins: dict[Role, Version]
) -> None:
    text = yaml.safe_dump({"gate": {"prefill_s": 1.5}, **QUICK}, sort_keys=False)
    text += "methods:\n- {name: none}\n- {name: absmax, num_bits: 99}\n"
    line = text.count("\n")
    loaded = parse_suite(text, str(tmp_path / "s.yaml"))
    with pytest.raises(SuiteError, match=rf"s\.yaml:{line}:3: methods\[1\] = .*num_bits"):
        ab.compare(loaded, twins, ab.Order())
