"""The runtime as a dimension: expanded, filtered, in the id only where it is not eager."""

from __future__ import annotations

import dataclasses
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from qbench.cell import Cell
from qbench.errors import SuiteError
from qbench.results.store.record import Record
from qbench.run.planning import runtimes
from qbench.run.planning.devices import Devices
from qbench.run.planning.plan import Planner
from qbench.suite.load import parse_suite
from qbench.suite.matrix import expand, select
from qbench.suite.rules import parse_filter
from qbench.suite.spec import Suite, json_schema
from tests.results import factory


def suite(**changes: Any) -> Suite:
    data = {
        "name": "s",
        "models": [{"source": "builtin:austen-6m"}],
        "methods": [{"name": "none"}],
        **changes,
    }
    return parse_suite(yaml.safe_dump(data, sort_keys=False), "s.yaml")


BOTH = ["eager", "compile"]


def test_a_suite_is_eager_unless_it_says_otherwise() -> None:
    assert [corner.runtime for corner in expand(suite())] == ["eager"]


def test_runtimes_multiply_the_matrix() -> None:
    corners = expand(suite(runtimes=BOTH, methods=[{"name": "none"}, {"name": "absmax", "num_bits": [8, 4]}]))
    assert [(corner.runtime, corner.label) for corner in corners] == [
        (runtime, label) for runtime in BOTH for label in ("none", "absmax num_bits=8", "absmax num_bits=4")
    ]


def test_rules_and_filters_see_the_runtime() -> None:
    kept = expand(suite(runtimes=BOTH, exclude=[{"runtime": "compile"}]))
    assert [corner.runtime for corner in kept] == ["eager"]
    chosen = select(expand(suite(runtimes=BOTH)), [parse_filter("runtime=comp*")])
    assert [corner.runtime for corner in chosen] == ["compile"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runtimes": ["compiled"]}, "did you mean 'compile'"),
        ({"runtimes": []}, "is empty"),
        ({"runtimes": ["eager", "eager"]}, "stands here twice"),
        ({"runtimes": BOTH, "latency": False, "energy": False}, "latency and energy are switched off"),
        ({"methods": [{"name": "none", "runtime": "compile"}]}, "runtimes stand at the top of the suite"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        suite(**changes)


def test_the_schema_knows_runtimes() -> None:
    document = {"name": "s", "models": [{"source": "builtin:austen-6m"}], "methods": [{"name": "none"}]}
    jsonschema.validate({**document, "runtimes": BOTH}, json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "runtimes": ["jit"]}, json_schema())


def test_an_eager_cell_keeps_the_id_that_it_had_before_there_were_runtimes() -> None:
    """The id as it was made then, by hand: all counted fields, a runtime or tasks not among them."""
    cell = factory.cell("absmax")
    counted = {
        key: value
        for key, value in cell.to_dict().items()
        if key not in ("label", "timeout_s", "memory_limit", "runtime", "tasks")
    }
    counted["model"] = {
        key: counted["model"][key] for key in ("weights", "trust_remote_code", "allow_pickle")
    }
    counted["quality"] = {key: value for key, value in counted["quality"].items() if key != "corpus"}
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"))
    assert cell.id == sha256(text.encode()).hexdigest()[:16]


def test_another_runtime_is_another_cell() -> None:
    cell = factory.cell()
    compiled = dataclasses.replace(cell, runtime="compile")
    assert compiled.id != cell.id
    assert Cell.from_dict(compiled.to_dict()) == compiled


def test_a_record_without_a_runtime_is_eager() -> None:
    old = factory.record().to_dict()
    del old["cell"]["runtime"]
    assert Record.from_dict(old).cell.runtime == "eager"


def planned(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[Any]:
    return Planner(suite(runtimes=BOTH, **changes), Devices([], "none here")).plan()


def test_without_a_compiler_compiled_cells_are_skipped_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    eager, compiled = planned(monkeypatch)
    assert (eager.state, eager.cell.runtime) == ("run", "eager")
    assert (compiled.state, compiled.cell.runtime) == ("skip", "compile")
    assert "C++ compiler, and CXX names 'no-such-compiler'" in compiled.reason


def test_without_pythons_headers_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runtimes.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(runtimes.sysconfig, "get_path", lambda name: str(tmp_path))
    assert "Python's C headers" in (runtimes.why_not("compile", "cpu") or "")
    (tmp_path / "Python.h").touch()
    assert runtimes.why_not("compile", "cpu") is None
    assert runtimes.why_not("eager", "cpu") is None
