"""A metric of another package, declared in one file under its entry point, stands wherever our own stand."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qbench.report.html.compressed_payload import unpack
from qbench.results.store.record import Record
from tests.results import factory

PACKAGE = Path(__file__).parent / "package"
OWN = ("branching", "branching_low", "branching_high")
RELATED = ("branching_ratio", "branching_ratio_low", "branching_ratio_high")
SUITE = """
name: a
models: [{source: "builtin:austen-6m"}]
methods: [{name: none}]
gate: {branching: 1.05, branching_ratio: false}
"""


def records(loss: float = 1.01) -> list[Record]:
    """The base, a quantized cell whose losses are `loss` times the base's, and one that was not scored."""
    worse = factory.perplexity([nats * loss for nats in factory.LOSSES])
    unscored = {name: found for name, found in factory.samples().items() if name != "perplexity"}
    return [
        factory.record(),
        factory.record("absmax", samples=factory.samples(perplexity=worse)),
        factory.record("gptq", samples=unscored),
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("third")
    for name, loss in (("a", 1.01), ("b", 1.05)):
        factory.write_run(root / name, records(loss))
    (root / "suite.yaml").write_text(SUITE)
    return {"a": root / "a", "b": root / "b", "root": root}


def run(*words: str, path: Path = PACKAGE, code: int = 0) -> str:
    """What a process prints in whose environment the package is installed."""
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{Path.cwd()}", "COLUMNS": "300"}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + (done.stderr if code else "")


def qbench(*words: str) -> str:
    return run("-m", "qbench", *words)


def asked(code: str) -> Any:
    """What the code prints as JSON."""
    return json.loads(run("-c", f"import json\n{code}\nprint(json.dumps(found))"))


def test_frame_and_units_and_reasons(folders: dict[str, Path]) -> None:
    found = asked(
        f"import qbench; frame = qbench.load({str(folders['a'])!r}); "
        "found = json.loads(frame.to_json(orient='records'))"
    )
    base, cell, unscored = (
        {row["method"]: row for row in found}[name] for name in ("none", "absmax", "gptq")
    )
    for ours, known in zip(
        (*OWN, *RELATED),
        ("perplexity", "perplexity_low", "perplexity_high", "perplexity_ratio", "perplexity_ratio_low",
         "perplexity_ratio_high"),
        strict=True,
    ):  # fmt: skip
        assert cell[ours] == cell[known]
        assert cell[ours] is not None
    names = list(cell)
    assert names.index("branching_low") == names.index("branching") + 1
    assert names.index("branching") > names.index("perplexity_tokens")  # after ours of its group
    assert base["branching_ratio"] == 1.0
    missing = json.loads(unscored["missing"])
    assert {missing[name] for name in (*OWN, *RELATED)} == {"perplexity was not asked for"}


def test_a_difference_by_window_and_a_quotient_of_two_numbers(folders: dict[str, Path]) -> None:
    found = asked(
        f"import qbench; frame = qbench.load({str(folders['a'])!r}); units = frame.attrs['units']\n"
        "found = [units, json.loads(frame.to_json(orient='records'))]"
    )
    units, rows = found
    base, cell = ({row["method"]: row for row in rows}[name] for name in ("none", "absmax"))
    gap = cell["nll_per_token"] - base["nll_per_token"]
    assert cell["nats_difference"] == pytest.approx(gap)
    assert math.exp(cell["nats_difference_low"]) == pytest.approx(cell["perplexity_ratio_low"])
    assert units["nats_difference"] == units["nats"] == "nat"
    assert cell["slowest_s_speedup"] == base["prefill_s_max"] / cell["prefill_s_max"]
    assert not [name for name in cell if name.startswith("slowest_s_speedup_")]


def test_its_own_reason_and_unit() -> None:
    found = asked(
        "import dataclasses\n"
        "from tests.results import factory\n"
        "from qbench.results.frames.frame import from_records\n"
        "broken = factory.record(samples=factory.samples(perplexity=factory.perplexity([None])))\n"
        "frame = from_records([broken])\n"
        "found = [json.loads(frame['missing'][0])['branching'], frame.attrs['units'].get('branching', '')]"
    )
    assert found == ["no text branches here", ""]


def test_the_terminal_shows_it_by_default_and_by_name(folders: dict[str, Path]) -> None:
    usual = qbench("show", str(folders["a"]))
    assert "Branching factor" in usual
    assert "Branching × base" in usual
    named = qbench("show", str(folders["a"]), "--columns", "branching_ratio,branching_ratio_low")
    assert "Branching × base, low end" in named


def test_the_page_has_it_for_scripts_and_without(folders: dict[str, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    qbench("report", str(folders["a"]), "-o", str(page))
    block = page.read_text().partition('id="data-table">')[2].partition("</script>")[0]
    table = json.loads(block)
    table = unpack(table) if isinstance(table, str) else table
    heads = {column["name"]: column for column in table["columns"]}
    assert heads["branching"]["title"] == "Branching factor"
    assert heads["branching"]["group"] == "Quality"
    assert (heads["branching"]["low"], heads["branching"]["high"]) == OWN[1:]
    assert set(RELATED) <= set(heads)
    assert {"branching", "branching_ratio"} <= set(table["defaults"])
    still = page.read_text().partition('<table class="still">')[2].partition("</table>")[0]
    assert "Branching factor" in still
    assert "Branching × base" in still


def test_markdown(folders: dict[str, Path]) -> None:
    said = qbench("report", str(folders["a"]), "--format", "markdown")
    assert "Branching factor ↓ | Branching × base ↓" in said


def test_a_comparison_pairs_it_by_window(folders: dict[str, Path]) -> None:
    sides = str(folders["a"]), str(folders["b"])
    said = qbench("compare", *sides, "--format", "markdown")
    lines = [line for line in said.splitlines() if "| branching |" in line]
    assert len(lines) == 1
    assert "worse, beyond the interval" in lines[0]


def test_the_history_has_series_of_it_and_of_its_ratio(folders: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "history.json"
    for metric in ("branching", "branching_ratio"):
        qbench("history", metric, str(folders["a"]), "--export", str(target))
        rows = [row for row in json.loads(target.read_text()) if row["method"] == "absmax"]
        assert [row["metric"] for row in rows] == [metric]
        assert rows[0]["low"] < rows[0]["value"] < rows[0]["high"]


def test_a_suite_gates_it_and_a_worse_value_is_a_finding(folders: dict[str, Path]) -> None:
    found = asked(
        "from qbench.gate.baseline.baseline_cell import baseline_cells\n"
        "from qbench.gate.verdicts.exact import exact_findings\n"
        "from qbench.results.compare.compare import read_source\n"
        "from qbench.suite.load import load_suite\n"
        "from pathlib import Path\n"
        f"root = Path({str(folders['root'])!r})\n"
        "gate = load_suite(root / 'suite.yaml').gate\n"
        "sides = [baseline_cells(read_source(root / name).records) for name in 'ab']\n"
        "found = [[one.cell, one.metric, one.verdict, one.gated, one.threshold, one.change]\n"
        "         for one in exact_findings(*sides, gate)]"
    )
    [judged] = [one for one in found if one[1] == "branching" and "absmax" in one[0]]
    nats = math.fsum(factory.LOSSES) / (factory.TOKENS * factory.WINDOWS)
    assert judged[2:5] == ["worse", True, 1.05]
    assert judged[5] == pytest.approx(math.exp(0.04 * nats))
    [ratio] = [one for one in found if one[1] == "branching_ratio" and "absmax" in one[0]]
    assert ratio[2:5] == ["worse", False, None]  # the suite says false


def test_the_schema_of_suites_and_the_dictionary_name_it() -> None:
    gate = json.loads(qbench("schema"))["$defs"]["GateSpec"]["properties"]
    assert "Branching factor" in gate["branching"]["description"]
    assert "default: 1.02" in gate["branching"]["description"]
    assert "default: 1.03" in gate["branching_ratio"]["description"]
    page = run("-m", "qbench.results.frames.dictionary")
    assert all(f"| `{name}` |" in page for name in (*OWN, *RELATED))
    assert "words that the model holds possible at each token" in page


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("1 / 0", "branching:METRICS of branching failed: ZeroDivisionError: division by zero"),
        ("'many'", "branching:METRICS of branching gave 'many', which is no number"),
    ],
)
def test_a_metric_that_fails_is_null_with_its_reason(
    body: str, reason: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(PACKAGE, tmp_path / "package")
    with (tmp_path / "package/branching.py").open("a") as module:
        module.write(
            "\nfrom dataclasses import replace\n"
            f"METRICS = (replace(BRANCHING, value=lambda record: {body}, by_window=None, versus=None),)\n"
        )
    printed = run(
        "-c",
        "import json, qbench\n"
        f"frame = qbench.load({str(folders['a'])!r})\n"
        "print(frame['branching'].isna().all(), frame['perplexity'].notna().any())\n"
        "print(json.loads(frame['missing'].iloc[0])['branching'])",
        path=tmp_path / "package",
    )
    assert printed.splitlines() == ["True True", reason]


@pytest.mark.parametrize(
    ("written", "instead", "complaint"),
    [
        (
            'name="branching"',
            'name="perplexity"',
            "the metric 'perplexity' is declared by the probe perplexity and by branching:METRICS",
        ),
        (
            'direction="lower"',
            'direction="down"',
            "branching:METRICS of branching under qbench.metrics cannot be loaded (ValueError: metric "
            "'branching': direction = 'down'; choose from lower, higher, None); mend or uninstall it",
        ),
        (
            'source="perplexity"',
            'source="perplexty"',
            "of branching:METRICS of branching reads 'perplexty'; did you mean 'perplexity'?",
        ),
        (
            "METRICS =",
            "import gone\nMETRICS =",
            "cannot be loaded (ModuleNotFoundError: No module named 'gone'); mend or uninstall it",
        ),
    ],
)
def test_a_faulty_declaration_is_an_error_that_names_its_source(
    written: str, instead: str, complaint: str, tmp_path: Path
) -> None:
    shutil.copytree(PACKAGE, tmp_path / "package")
    module = tmp_path / "package/branching.py"
    text = module.read_text()
    assert written in text
    module.write_text(text.replace(written, instead, 1))
    said = run("-m", "qbench", "show", str(tmp_path), path=tmp_path / "package", code=2)
    assert complaint in " ".join(said.split())
    assert "Traceback" not in said
