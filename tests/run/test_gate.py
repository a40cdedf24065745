"""Gates of real processes: two environments, and what is found between them."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import qbench
from qbench.cli.app import app
from qbench.errors import GateError, ResultsError, SuiteError
from qbench.results.gate.baseline import accept, baseline_file
from qbench.results.gate.finding import Finding, GateResult
from qbench.results.store import Run, Store
from qbench.run.ab import compare as ab
from qbench.run.ab import install
from qbench.run.ab.lanes import Crew, Lane
from qbench.run.ab.sides import Name, Side, opened, text_without_gate
from qbench.run.gate import Stored, with_baseline
from qbench.run.pool import Pool
from qbench.suite.load import parse_suite
from qbench.suite.positions import read
from qbench.suite.spec import Suite
from tests.run.conftest import QUICK, suite
from tests.run.conftest import Run as RunSuite

ROOT = Path(__file__).resolve().parents[2]
LATENCY = {"prompt_lengths": [8], "generated_tokens": 6, "repetitions": 2}
UNTIMED = {"prefill_s": False, "decode_s_per_token": False}
IMPORT = "        from qbench.run import faults\n"
NATIVE = "straight from the packed codes, in C; bf16 weights in registers, float32 sums"
FAULTS = {
    "methods/absmax.py": [
        ("        middle = 2 **", f"{IMPORT}        faults.quantizing(self)\n        middle = 2 **"),
        ("codes=codes.reshape(weight.shape),", "codes=faults.codes(self, codes).reshape(weight.shape),"),
    ],
    "qbench/quant/kernels/table.py": [
        (
            f'        summary="weight-only, {NATIVE}",\n        devices=("cpu",),\n'
            '        activations=("none",),\n        num_bits=WIDTHS,',
            '        summary="",\n        devices=("cpu",),\n'
            '        activations=("none",),\n        num_bits=(2, 3, 4, 6, 7, 8),',
        )
    ],
    "qbench/measure/workload.py": [
        (
            '        assert self.token is not None, "prefill comes first"\n',
            f"{IMPORT}        faults.stepping(self.model)\n",
        ),
    ],
    "qbench/run/planning.py": [
        (
            '        for one in planner.plan(job["rules"])\n',
            '        for one in planner.plan(job["rules"])\n'
            '        if one.cell.params.get("num_bits") != 6\n',
        ),
    ],
}
"""What is wrong with the candidate: see `FAULTS_MODULE`."""
FAULTS_MODULE = """
import os, time

warm = False

def quantizing(method):
    if method.num_bits == 3:
        os.kill(os.getpid(), 9)
    if method.num_bits == 7 and warm:
        raise MemoryError("no room on purpose")

def codes(method, codes):
    if method.num_bits == 4:
        codes[:, ::7] = codes[:, ::7].clamp(max=8)
    return codes

def stepping(model):
    global warm
    warm = True
    from qbench.quant.convert import quantized_layers
    if any(layer.spec.num_bits == 8 for _, layer in quantized_layers(model)):
        time.sleep(0.02)
"""


def copied(folder: Path, faults: dict[str, list[tuple[str, str]]]) -> install.Installed:
    """An environment with a copy of this tree in which each fault replaced a piece of text."""
    python = install._environment(folder)
    packages = install._packages_folder(folder)
    shutil.copytree(ROOT / "qbench", packages / "qbench", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("methods", "suites"):
        shutil.copytree(ROOT / name, packages / "qbench" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file, pairs in faults.items():
        path = packages / (file if file.startswith("qbench") else f"qbench/{file}")
        text = path.read_text()
        for old, new in pairs:
            assert text.count(old) == 1, f"{file} has changed; the fault finds no place"
            text = text.replace(old, new)
        path.write_text(text)
    (packages / "qbench" / "run" / "faults.py").write_text(FAULTS_MODULE)
    return install.Installed(str(python), "a faulty copy", "", packages / "qbench")


@pytest.fixture
def twins(pool: Pool) -> dict[Name, Side]:
    """Both sides on one warm server."""
    here = install.here()
    return {"baseline": Side("baseline", here, pool), "candidate": Side("candidate", here, pool)}


def by_cell(result: GateResult) -> dict[tuple[str, str], Finding]:
    return {
        (one.cell.removeprefix("austen-6m ").removesuffix(" bf16 cpu"), one.metric): one
        for one in result.findings
    }


def gate_suite(folder: Path, methods: list[dict[str, Any]], **changes: Any) -> Suite:
    return suite(methods, folder, **{"latency": LATENCY, "memory": {}, "threads": 1, **changes})


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, pool: Pool) -> Iterator[dict[Name, Side]]:
    """This tree against the copy in which everything is wrong."""
    copy = copied(tmp_path_factory.mktemp("faulty") / "candidate", FAULTS)
    with opened("candidate", copy) as candidate:
        yield {"baseline": Side("baseline", install.here(), pool), "candidate": candidate}


@pytest.fixture
def warm_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later passes fork from the servers that there are, since starting new ones takes ten times as long; and
    few laps of a load are enough, however noisy the machine."""
    monkeypatch.setattr(Side, "restart", lambda side: None)
    monkeypatch.setattr("qbench.results.gate.loads.FINE", 1.0)


@pytest.mark.slow
def test_every_kind_of_regression_is_found_and_nothing_else(tmp_path: Path, faulty: dict[Name, Side]) -> None:
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
    tmp_path: Path, faulty: dict[Name, Side]
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
    tmp_path: Path, faulty: dict[Name, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes: list[Lane] = []
    start = Crew.start

    def noted(crew: Crew, *arguments: Any, **options: Any) -> Lane:
        lanes.append(start(crew, *arguments, **options))
        return lanes[-1]

    def heard(line: str) -> None:
        if line.startswith("pass 3"):
            newest = next(lane for lane in reversed(lanes) if lane.side.name == "baseline")
            os.kill(newest.job.pid, signal.SIGKILL)

    monkeypatch.setattr(Crew, "start", noted)
    result = ab.compare(slowed_suite(tmp_path), faulty, ab.Order(heard=heard))
    found = by_cell(result)
    decode = found["absmax num_bits=8", "decode_s_per_token"]
    assert (decode.verdict, decode.gated, result.exit_code) == ("undecided", True, 3)
    assert "the baseline's worker ended in load 3: failed: the worker was killed by SIGKILL" in decode.reason
    assert found["absmax num_bits=8", "perplexity"].verdict == "same"
    assert len(lanes) == 6


class Elsewhere(Side):
    """A side whose plan says that it has another torch."""

    def plan(self, suite: Suite, rules: Any) -> None:
        super().plan(suite, rules)
        self.environment["packages"] = {**self.environment["packages"], "torch": "1.0"}


def test_another_environment_is_refused_unless_it_is_accepted(
    tmp_path: Path, twins: dict[Name, Side]
) -> None:
    other = Elsewhere("candidate", install.here(), twins["baseline"].pool)
    sides: dict[Name, Side] = {**twins, "candidate": other}
    loaded = gate_suite(tmp_path, [{"name": "none"}], gate=UNTIMED, quality=False)
    refused = ab.compare(loaded, sides, ab.Order())
    assert (refused.exit_code, refused.findings) == (2, ())
    assert refused.verdict.startswith("refused: baseline (A) and candidate (B) run in different environments")
    assert "B: 1.0" in refused.verdict
    assert "--accept-environment packages.torch" in refused.verdict
    taken = ab.compare(loaded, sides, ab.Order(accept=["packages.torch"]))
    assert taken.refused is None
    assert [line.partition(":")[0] for line in taken.accepted] == ["packages.torch"]


def test_the_command_line_accepts_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ab.Order] = []

    def noted(loaded: Suite, ref: str, order: ab.Order) -> GateResult:
        seen.append(order)
        return GateResult(loaded.name, nothing="a test")

    monkeypatch.setattr("qbench.run.gate.against_commit", noted)
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**QUICK, "methods": [{"name": "none"}]}))
    words = ["gate", str(path), "--against", "HEAD", "--accept-environment", "threads,cpu"]
    done = CliRunner().invoke(app, [*words, "--accept-environment", "python"])
    assert done.exit_code == 3
    assert seen[0].accept == ["threads", "cpu", "python"]


@pytest.mark.slow
def test_a_version_against_itself_is_green(tmp_path: Path, twins: dict[Name, Side]) -> None:
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


def test_a_suite_of_which_no_cell_can_run_measured_nothing(tmp_path: Path, twins: dict[Name, Side]) -> None:
    result = ab.compare(gate_suite(tmp_path, [{"name": "none"}], devices=["cuda:7"]), twins, ab.Order())
    assert result.exit_code == 3
    assert result.verdict == "nothing measured: no cell can run here on both sides"


def test_records_that_cannot_be_kept_do_not_cost_the_verdict(tmp_path: Path, twins: dict[Name, Side]) -> None:
    (tmp_path / "tiny").write_text("stands where the suite's folder should be made")
    result = ab.compare(
        gate_suite(tmp_path, [{"name": "none"}], devices=["cuda:7"]), twins, ab.Order(keep=tmp_path)
    )
    assert (result.exit_code, result.notes) == (3, ())
    assert result.unkept is not None
    assert str(tmp_path / "tiny") in result.unkept


def test_a_suite_that_a_side_cannot_plan_is_an_error(tmp_path: Path, twins: dict[Name, Side]) -> None:
    wrong = gate_suite(tmp_path, [{"name": "absmax", "num_bits": 99}])
    with pytest.raises(SuiteError, match=r"baseline qbench .* cannot plan the suite"):
        ab.compare(wrong, twins, ab.Order())
    unmatched = gate_suite(tmp_path, [{"name": "none"}])
    with pytest.raises(SuiteError, match="absmax"):
        ab.compare(unmatched, twins, ab.Order(rules=[{"method": ["absmax"]}]))


def test_an_error_of_the_other_side_points_at_the_line_of_the_file(
    tmp_path: Path, twins: dict[Name, Side]
) -> None:
    text = yaml.safe_dump({"gate": {"prefill_s": 1.5}, **QUICK}, sort_keys=False)
    text += "methods:\n- {name: none}\n- {name: absmax, num_bits: 99}\n"
    line = text.count("\n")
    loaded = parse_suite(text, str(tmp_path / "s.yaml"))
    with pytest.raises(SuiteError, match=rf"s\.yaml:{line}:3: methods\[1\] = .*num_bits"):
        ab.compare(loaded, twins, ab.Order())


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


def finished(run: RunSuite, methods: list[dict[str, Any]], tmp_path: Path, **changes: Any) -> Run:
    outcome = run(methods, **changes)
    assert outcome.exit_code == 0
    accept(outcome.run, baseline_file(tmp_path / "results", "tiny"), "the first numbers")
    return outcome.run


@pytest.mark.slow
@pytest.mark.usefixtures("misbehave")
def test_a_finished_run_against_what_was_accepted(run: RunSuite, tmp_path: Path) -> None:
    methods = [{"name": "none"}, {"name": "absmax", "num_bits": 4}]
    first = finished(run, methods, tmp_path)
    loaded = suite(methods, tmp_path)
    for baseline in (tmp_path / "results", baseline_file(tmp_path / "results", "tiny"), first.folder):
        result = with_baseline(loaded, Stored(baseline, first.folder))
        assert (result.exit_code, set(result.counts)) == (0, {"same"})
    (lost,) = [path for path in first.folder.glob("*.json") if path.stem in _ids(first, "absmax")]
    lost.unlink()
    result = with_baseline(loaded, Stored(tmp_path / "results", first.folder))
    assert result.exit_code == 1
    assert [(one.metric, one.verdict) for one in result.findings if one.red] == [("status", "missing")]
    rules = [{"method": ["none"]}]
    assert with_baseline(loaded, Stored(tmp_path / "results", first.folder, rules=rules)).exit_code == 0
    shutil.rmtree(first.folder / "none", ignore_errors=True)
    for path in first.folder.glob("*.json"):
        if path.name != "manifest.json":
            path.unlink()
    assert with_baseline(loaded, Stored(tmp_path / "results", first.folder)).exit_code == 3


def _ids(run: Run, method: str) -> set[str]:
    return {record.cell.id for record in Store(run.folder).records(run) if record.cell.method == method}


def test_what_cannot_be_compared_is_an_error(tmp_path: Path) -> None:
    loaded = suite([{"name": "none"}], tmp_path)
    with pytest.raises(ResultsError, match="no baseline"):
        with_baseline(loaded, Stored(tmp_path))
    file = baseline_file(tmp_path, "tiny")
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    with pytest.raises(ResultsError, match="cannot be used"):
        with_baseline(loaded, Stored(tmp_path))


def processes_of(marker: str) -> list[int]:
    """Processes whose environment holds the marker."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment, state = (entry / "environ").read_bytes(), (entry / "stat").read_text()
            except OSError:
                continue
            if marker.encode() in environment and state.rpartition(")")[2].split()[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.fixture
def started(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """`qbench gate` amid its laps; its temporary files lie under tmp_path/temporary."""
    path = tmp_path / "tiny.yaml"
    undecidable = {"gate": {"prefill_s": 1.000001, "decode_s_per_token": 1.000001}}
    whole = {**QUICK, "methods": [{"name": "none"}], "latency": LATENCY, "threads": 1, **undecidable}
    path.write_text(yaml.safe_dump(whole))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [
        sys.executable,
        "-m",
        "qbench",
        "gate",
        str(path),
        *request.param,
        "--json",
        str(tmp_path / "o.json"),
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=_interruptible,
        env={**os.environ, "TMPDIR": str(temporary), "QBENCH_TEST_MARKER": str(tmp_path)},
    )  # fmt: skip
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith("pass 1"):
            break
    else:
        raise AssertionError("".join(seen))
    yield process
    process.kill()
    process.wait()
    process.stderr.close()


def _interruptible() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test set in the background ignores it


def _gone(marker: str) -> bool:
    deadline = time.monotonic() + 15
    while processes_of(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes_of(marker)


NEEDS_GIT = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")


@pytest.mark.slow
@NEEDS_GIT
@pytest.mark.parametrize("started", [["--against", "HEAD"]], indirect=True)
def test_an_interrupt_ends_with_130_and_leaves_nothing(
    started: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert len(processes_of(str(tmp_path))) == 5, "the parent, two servers, two workers"
    started.send_signal(signal.SIGINT)
    assert started.wait(timeout=30) == 130
    assert _gone(str(tmp_path))
    left = [path.name for path in (tmp_path / "temporary").iterdir()]
    assert not [name for name in left if name.startswith("qbench")], "torch may leave a folder of its own"
    assert not (tmp_path / "o.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("started", [["--baseline-python", sys.executable]], indirect=True)
def test_a_killed_gate_leaves_no_process(started: subprocess.Popen[str], tmp_path: Path) -> None:
    assert len(processes_of(str(tmp_path))) == 5
    started.kill()
    started.wait()
    assert _gone(str(tmp_path))


def test_the_command_line_says_what_it_lacks(tmp_path: Path) -> None:
    report = tmp_path / "o.json"
    for words, said in (
        ([], "no baseline is named"),
        (["--against", "HEAD", "--baseline", "x"], "name several baselines"),
        (["--against", "HEAD", "--candidate-python", "x"], "goes with --baseline-python"),
        (["--against", "HEAD", "--results", "x"], "--results goes with --baseline"),
    ):
        command = [sys.executable, "-m", "qbench", "gate", "quickstart", *words, "--json", str(report)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert said in done.stderr
        assert said in json.loads(report.read_text())["refused"]


def test_two_environments_of_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="no interpreter"):
        install.existing(str(tmp_path / "no" / "python"))
