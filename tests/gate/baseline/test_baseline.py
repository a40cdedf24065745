"""A baseline's file: accepted with a reason, whole or refused; and a run gated against it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qbench.errors import ResultsError, SuiteError
from qbench.gate.baseline.baseline import accept, baseline_file, read_baseline
from qbench.gate.verdicts.finding import GateResult
from qbench.gate.verdicts.stored import gate_stored
from qbench.results.store.folders import only_run, write_manifest
from qbench.results.store.record import Record
from qbench.suite.load import parse_suite
from tests.results import factory

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def _records(**changes: Any) -> list[Record]:
    return [factory.record(), factory.record("absmax", **changes)]


def _accepted(tmp_path: Path, records: list[Record] | None = None) -> Path:
    run = only_run(factory.write_run(tmp_path / "a", _records() if records is None else records))
    path = baseline_file(tmp_path, "quickstart")
    accept(run, path, "first numbers", now=NOW, allow_failed=True)
    return path


def _gate(tmp_path: Path, records: list[Record], text: str = "", **settings: Any) -> GateResult:
    suite = parse_suite(
        f"name: quickstart\nmodels: [{{source: 'builtin:austen-6m'}}]\nmethods: [{{name: none}}]\n{text}",
        "s.yaml",
    )
    folder = tmp_path / "b" / "quickstart" / "20261121T115600Z-ab12ce"
    manifest = {**factory.MANIFEST, **settings.pop("manifest", {})}
    write_manifest(folder, manifest)
    factory.write_run(tmp_path / "b", records, run=folder.name)
    write_manifest(folder, manifest)
    return gate_stored(suite, read_baseline(_accepted(tmp_path)), only_run(tmp_path / "b"), **settings)


def test_an_acceptance_keeps_its_reason_and_the_earlier_ones(tmp_path: Path) -> None:
    path = _accepted(tmp_path)
    run = only_run(factory.write_run(tmp_path / "c", _records(), run="20261122T105600Z-ab12cd"))
    accept(run, path, "better\n scales", allow_failed=True)
    found = read_baseline(path)
    assert [one.reason for one in found.acceptances] == ["first numbers", "better scales"]
    assert found.acceptances[0].accepted_at == "2026-11-21T12:00:00+00:00"
    assert found.now.run == "20261122T105600Z-ab12cd"
    assert found.environment["cpu.model"] == "AMD EPYC 9B45"
    assert len(found.cells) == 2


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_no_reason_no_baseline(tmp_path: Path, reason: str) -> None:
    run = only_run(factory.write_run(tmp_path, _records()))
    with pytest.raises(ResultsError, match="--reason"):
        accept(run, baseline_file(tmp_path, "quickstart"), reason)
    assert not baseline_file(tmp_path, "quickstart").exists()


def test_a_run_with_failed_or_absent_cells_needs_leave(tmp_path: Path) -> None:
    path = baseline_file(tmp_path, "quickstart")
    run = only_run(factory.write_run(tmp_path, [factory.record(), factory.failed("gptq")]))
    with pytest.raises(
        ResultsError, match=r"gptq bf16 cpu \(failed\).*planned cells have no record.*--allow-failed"
    ):
        accept(run, path, "why")
    assert len(accept(run, path, "why", allow_failed=True).failed) == 1


def test_a_run_of_failures_alone_is_refused(tmp_path: Path) -> None:
    run = only_run(factory.write_run(tmp_path, [factory.failed("gptq")]))
    with pytest.raises(ResultsError, match="no ok cell"):
        accept(run, baseline_file(tmp_path, "quickstart"), "why", allow_failed=True)


def test_an_unreadable_record_is_refused_and_the_old_baseline_stays(tmp_path: Path) -> None:
    path = _accepted(tmp_path)
    before = path.read_bytes()
    folder = factory.write_run(tmp_path / "c", _records())
    next(file for file in folder.glob("*.json") if file.name != "manifest.json").write_text("{")
    with pytest.raises(ResultsError, match="no whole JSON file"):
        accept(only_run(folder), path, "why", allow_failed=True)
    assert path.read_bytes() == before


def _cut(text: str) -> str:
    return text[: len(text) // 2]


def _edited(text: str) -> str:
    data = json.loads(text)
    data["cells"][0]["values"]["perplexity"] *= 1.1
    return json.dumps(data)


def _without(key: str) -> Any:
    return lambda text: json.dumps({name: value for name, value in json.loads(text).items() if name != key})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "no whole JSON file"),
        (lambda text: "", "no whole JSON file"),
        (lambda text: "[]", "it is no baseline"),
        (_edited, "changed by other means"),
        (_without("sha256"), "it is damaged"),
        (_without("cells"), "it is damaged"),
        (lambda text: text.replace('"schema": 1', '"schema": 99', 1), "schema 99; this qbench reads 1"),
        (lambda text: text.replace('"status": "ok"', '"stattus": "ok"', 1), "not a baseline cell"),
        (lambda text: text.replace("first numbers", "other"), "changed by other means"),
    ],
    ids=["cut", "empty", "list", "edited", "no checksum", "no cells", "future", "unknown key", "reason"],
)
def test_a_damaged_baseline_is_a_clear_error(tmp_path: Path, damage: Any, message: str) -> None:
    path = _accepted(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ResultsError, match=message) as error:
        read_baseline(path)
    assert str(path) in str(error.value)
    assert "qbench baseline accept" in str(error.value) or "schema" in str(error.value)
    with pytest.raises(ResultsError):
        _accepted(tmp_path)  # nor is it silently replaced, with the history that it may hold


def test_no_baseline_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="qbench baseline accept RUN --reason"):
        read_baseline(baseline_file(tmp_path, "quickstart"))
    for name in ("", "../x", ".hidden"):
        with pytest.raises(ResultsError, match="is no name"):
            baseline_file(tmp_path, "quickstart", name)


def test_several_suites_are_no_one_run(tmp_path: Path) -> None:
    factory.write_run(tmp_path, _records())
    factory.write_run(tmp_path, _records(), suite="other")
    with pytest.raises(ResultsError, match=r"several suites \(other, quickstart\)"):
        only_run(tmp_path)
    assert only_run(tmp_path / "other").suite == "other"


def test_the_same_run_is_fine(tmp_path: Path) -> None:
    result = _gate(tmp_path, _records())
    assert result.exit_code == 0
    assert result.verdict.startswith("fine: ")
    assert set(result.counts) == {"same"}
    timed = [finding for finding in result.findings if finding.metric == "prefill_s"]
    assert timed
    assert not any(finding.gated for finding in timed)
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_regression_is_red(tmp_path: Path) -> None:
    nll = [value * 1.01 for value in factory.LOSSES]
    result = _gate(tmp_path, _records(samples=factory.samples(perplexity=factory.perplexity(nll))))
    assert result.exit_code == 1
    assert result.verdict.startswith("regression: 2 worse (")


def test_a_run_of_no_cells_has_measured_nothing(tmp_path: Path) -> None:
    result = _gate(tmp_path, [])
    assert result.exit_code == 3
    assert result.verdict == "nothing measured: the candidate holds no cell: nothing was measured"
    assert result.findings == ()


def test_a_lost_cell_is_red(tmp_path: Path) -> None:
    result = _gate(tmp_path, _records()[:1])
    assert result.exit_code == 1
    assert "1 missing" in result.verdict


def test_nothing_in_common_is_no_comparison(tmp_path: Path) -> None:
    other = [factory.record("hqq", cell_changes={"params": {"num_bits": 4}})]
    result = _gate(tmp_path, other)
    assert result.exit_code == 1  # both cells of the baseline are lost
    assert result.counts == {"missing": 2}


def test_another_machine_is_refused_until_it_is_accepted(tmp_path: Path) -> None:
    environment = {
        **factory.MANIFEST["environment"],
        "cpu": {"model": "Intel Xeon", "flags": ["avx2"], "cores": 2},
    }
    moved = {"manifest": {"environment": environment}}
    result = _gate(tmp_path, _records(), **moved)
    assert result.exit_code == 2
    assert result.refused is not None
    assert "cpu.vendor: A: AMD; B: Intel" in result.refused
    assert "--accept-environment cpu.flags,cpu.vendor" in result.refused
    assert result.findings == ()
    again = _gate(tmp_path, _records(), accept=["cpu"], **moved)
    assert again.exit_code == 0
    assert [line.split(":")[0] for line in again.accepted] == ["cpu.flags", "cpu.vendor"]


def test_timed_numbers_count_only_where_asked(tmp_path: Path) -> None:
    slow = [value * 1.5 for value in (0.012, 0.010, 0.011, 0.0115, 0.0105, 0.0112, 0.0108)]
    quick = [value / 1.5 for value in slow]
    before = [factory.record(samples=factory.samples(latency=factory.latency(quick)))]
    _accepted(tmp_path, before)
    now = [factory.record(samples=factory.samples(latency=factory.latency(slow)))]
    folder = factory.write_run(tmp_path / "b", now, run="20261121T115600Z-ab12ce")
    suite = parse_suite(
        "name: quickstart\nmodels: [{source: 'builtin:x'}]\nmethods: [{name: none}]\n"
        "gate: {decode_s_per_token: false}",
        "s.yaml",
    )
    baseline = read_baseline(baseline_file(tmp_path, "quickstart"))
    assert gate_stored(suite, baseline, only_run(folder)).exit_code == 0
    result = gate_stored(suite, baseline, only_run(folder), gate_timed=True)
    assert result.exit_code == 1
    (worse,) = [finding for finding in result.findings if finding.verdict == "worse"]
    assert worse.metric == "prefill_s"
    assert worse.change == pytest.approx(1.5)
    assert worse.p == pytest.approx(1 / 3432)


def test_too_few_rounds_are_undecided_and_say_so(tmp_path: Path) -> None:
    result = _gate(tmp_path, _records(), gate_timed=True)
    assert result.exit_code == 3
    undecided = [finding for finding in result.findings if finding.verdict == "undecided" and finding.gated]
    assert "so few rounds can never tell among 4 tests" in undecided[0].reason


def test_an_override_that_matches_nothing_is_an_error_at_its_place(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"s.yaml:4:.*no cell has method .*did you mean 'absmax'"):
        _gate(tmp_path, _records(), "gate: {overrides: [{match: {method: absmx}, perplexity: 1.1}]}")


def _lost_times(tmp_path: Path, text: str = "", **settings: Any) -> GateResult:
    """The candidate ran well and was not timed."""
    samples = {name: value for name, value in factory.samples().items() if name != "latency"}
    return _gate(tmp_path, [factory.record(), factory.record("absmax", samples=samples)], text, **settings)


def test_a_lost_timed_metric_is_missing_where_times_are_gated(tmp_path: Path) -> None:
    result = _lost_times(tmp_path, gate_timed=True)
    lost = {finding.metric: finding for finding in result.findings if finding.verdict == "missing"}
    assert {name for name, finding in lost.items() if finding.gated} == {"prefill_s", "decode_s_per_token"}
    assert {finding.cell for finding in lost.values()} == {"austen-6m absmax bf16 cpu"}
    assert lost["prefill_s"].baseline == pytest.approx(0.011), "the median of 12, 10 and 11 ms"
    assert lost["prefill_s"].candidate is None
    assert lost["prefill_s"].threshold == 1.03
    assert result.exit_code == 1


def test_a_lost_timed_metric_is_shown_where_it_is_not_gated(tmp_path: Path) -> None:
    shown = _lost_times(tmp_path)
    assert shown.exit_code == 0
    assert {one.metric for one in shown.findings if one.verdict == "missing" and not one.gated} >= {
        "prefill_s"
    }


def test_a_threshold_that_is_off_gates_no_loss(tmp_path: Path) -> None:
    off = _lost_times(tmp_path, "gate: {prefill_s: false, decode_s_per_token: false}", gate_timed=True)
    assert off.exit_code == 0


def test_a_cell_that_failed_has_lost_no_metric_besides(tmp_path: Path) -> None:
    result = _gate(tmp_path, [factory.record(), factory.failed("absmax")], gate_timed=True)
    assert not [one for one in result.findings if one.verdict == "missing" and one.metric != "status"]
