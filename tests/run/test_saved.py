"""Quantizing into a folder and running it in a suite: the same numbers, the right base, or a reason."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import qbench
from qbench import MethodError, ModelError, QbenchError
from qbench.cell import ModelRef
from qbench.models.saved import Saved, read_saved, saved_at
from qbench.models.source import FACTS, pin
from qbench.quant.method import registry
from qbench.quant.model import checkpoint
from qbench.report.view.context import build_view
from qbench.results.frames.frame import from_records
from qbench.run import quantize as parent
from qbench.run.executors.local.executor import LocalExecutor
from qbench.run.planning.plan import Planned, Planner
from qbench.run.quantize import Order, quantize
from qbench.suite.load import load_suite
from qbench.suite.sections import CalibrationSpec, LayersSpec
from tests.results import factory
from tests.run.conftest import Run, suite

LAYERS = {"exclude": ["*.layers.0.*"], "overrides": [{"pattern": "*.down_proj", "num_bits": 8}]}
PARAMS = {"num_bits": 3, "strategy": "group", "group_size": 32}
BASE = {"source": "builtin:austen-6m"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, executor: LocalExecutor) -> dict[str, Any]:
    """What `quantize` says of a checkpoint of mixed precision."""
    order = Order("builtin:austen-6m", "zeropoint", PARAMS, layers=LayersSpec.model_validate(LAYERS))
    return quantize(order, tmp_path_factory.mktemp("made") / "mixed", executor=executor)


@pytest.fixture
def folder(made: dict[str, Any], tmp_path: Path) -> Path:
    """A copy of it, beside the suites of the test."""
    return Path(shutil.copytree(made["folder"], tmp_path / "mixed"))


def _edit(folder: Path, **origin: Any) -> None:
    known = json.loads((folder / FACTS).read_text())
    known["origin"].update(origin)
    (folder / FACTS).write_text(json.dumps(known))


def _planned(tmp_path: Path, methods: list[dict[str, Any]], **changes: Any) -> list[Planned]:
    return Planner(suite(methods, tmp_path, **changes)).plan()


def test_a_saved_checkpoint_scores_bit_for_bit_what_quantizing_in_the_suite_does(
    run: Run, folder: Path
) -> None:
    fresh = run([{"name": "none"}, {"name": "zeropoint", **PARAMS}], layers=LAYERS, memory={}).records
    models = [BASE, {"source": "./mixed"}]
    beside = run([{"name": "none"}, {"name": "saved"}], models=models, memory={}, name="beside")
    found = {record.cell.label: record for record in (*fresh, *beside.records) if record.status == "ok"}
    quantized = found["zeropoint num_bits=3 strategy=group group_size=32"]
    saved = found["zeropoint num_bits=3 strategy=group group_size=32 (saved)"]
    nll = [record.samples["perplexity"]["nll"] for record in (quantized, saved, found["none"])]
    assert nll[0] == nll[1] != nll[2]
    told = ("name", "shape", "num_bits", "method", "params", "bits_per_weight", "weight_error", "executed")
    tables = [
        sorted([layer[key] for key in told] for layer in record.layers) for record in (quantized, saved)
    ]
    assert tables[0] == tables[1]
    for key in ("weight_bytes", "quantized_bytes", "metadata_bytes"):
        assert quantized.samples["memory"][key] == saved.samples["memory"][key]
    for key in ("parameters", "bits_per_weight", "left_unquantized", "tied_head", "context", "tokenizer"):
        assert saved.model[key] == quantized.model[key], key
    assert saved.model["origin"]["params"] == quantized.cell.params
    assert saved.samples["memory"]["disk_bytes"] == (folder / "qbench.safetensors").stat().st_size
    assert beside.exit_code == 0

    frames = [from_records(fresh), from_records(beside.records)]
    rows = [frame[frame["status"] == "ok"].iloc[1] for frame in frames]
    columns = ["perplexity", "perplexity_ratio", "perplexity_ratio_low", "weight_bytes_ratio"]
    assert rows[0][columns].tolist() == rows[1][columns].tolist()
    assert rows[1]["base_cell_id"] == found["none"].cell.id
    groups = build_view(frames[1][frames[1]["status"] == "ok"], {}).groups
    assert [group.title for group in groups] == ["austen-6m · bf16 · cpu"]
    assert "× base" in groups[0].sentence.replace("\u00a0", " ")


def test_without_its_base_the_ratio_is_null_with_the_reason(run: Run, folder: Path) -> None:
    outcome = run([{"name": "saved"}], models=[{"source": "./mixed"}])
    row = qbench.load(outcome.run.folder).iloc[0]
    assert row["status"] == "ok"
    assert row["perplexity"] > 1
    assert pd.isna(row["perplexity_ratio"])
    assert "of the model that the checkpoint was made from" in json.loads(row["missing"])["perplexity_ratio"]


def test_the_base_is_the_one_whose_weights_the_origin_names() -> None:
    origin = {"weights": "sha256:0a1b", "source": "x"}
    other = ModelRef("q", "./q", "sha256:quantized")
    saved = factory.record("saved", cell_changes={"model": other, "params": {}}, model={"origin": origin})
    base = factory.record()
    strangers = [
        factory.record(cell_changes={"dtype": "fp32"}),
        factory.record(cell_changes={"model": ModelRef("austen-6m", "x", "sha256:other")}),
        factory.record(run="20270101T000000Z-000000"),
    ]
    frame = from_records([*strangers, base, saved])
    assert frame.iloc[-1]["base_cell_id"] == base.cell.id
    assert frame.iloc[-1]["perplexity_ratio"] == pytest.approx(1.0)
    assert pd.isna(from_records([*strangers, saved]).iloc[-1]["base_cell_id"])
    for broken in ({}, {"origin": None}, {"origin": {"weights": 3}}, {"origin": []}):
        alone = factory.record("saved", cell_changes={"model": other, "params": {}}, model=broken)
        assert pd.isna(from_records([base, alone]).iloc[-1]["base_cell_id"])


def test_only_saved_runs_on_a_checkpoint_and_only_there(tmp_path: Path, folder: Path) -> None:
    planned = _planned(
        tmp_path,
        [{"name": "none"}, {"name": "absmax"}, {"name": "saved"}],
        models=[BASE, {"source": "./mixed"}],
    )
    states = {(plan.cell.model.name, plan.cell.method): (plan.state, plan.reason or "") for plan in planned}
    assert [states["austen-6m", method][0] for method in ("none", "absmax", "saved")] == [
        "run",
        "run",
        "skip",
    ]
    assert "austen-6m is none; name such a folder under models" in states["austen-6m", "saved"][1]
    assert [states["mixed", method][0] for method in ("none", "absmax", "saved")] == ["skip", "skip", "run"]
    assert "quantized already (zeropoint num_bits=3" in states["mixed", "absmax"][1]
    assert "name the model that it was made from (builtin:austen-6m)" in states["mixed", "none"][1]


def test_a_star_stands_for_what_each_model_takes(tmp_path: Path, folder: Path) -> None:
    planned = _planned(tmp_path, [{"name": "*"}], models=[BASE, {"source": "./mixed"}])
    of_base = {plan.cell.method for plan in planned if plan.cell.model.name == "austen-6m"}
    assert of_base == set(registry.available()) - {"saved"}
    assert [plan.cell.method for plan in planned if plan.cell.model.name == "mixed"] == ["saved"]
    asked = Planner(suite([{"name": "*"}], tmp_path)).plan([{"method": ["saved"]}])
    assert [(plan.cell.method, plan.state) for plan in asked] == [("saved", "skip")]


def test_a_label_of_the_suite_wins(tmp_path: Path, folder: Path) -> None:
    models = [{"source": "./mixed"}]
    (mine,) = _planned(tmp_path, [{"name": "saved", "label": "mine"}], models=models)
    (told,) = _planned(tmp_path, [{"name": "saved"}], models=models)
    assert mine.cell.label == "mine"
    assert told.cell.label == "zeropoint num_bits=3 strategy=group group_size=32 (saved)"
    assert mine.cell.id == told.cell.id


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"dtypes": ["fp32"]}, "the checkpoint is bf16 and is never cast; give it dtypes: [bf16]"),
        ({"weights": "random"}, "random weights need an ordinary model"),
    ],
)
def test_what_a_checkpoint_cannot_be_is_skipped(
    tmp_path: Path, folder: Path, model: dict[str, Any], said: str
) -> None:
    (plan,) = _planned(tmp_path, [{"name": "saved"}], models=[{"source": "./mixed", **model}])
    assert plan.state == "skip"
    assert said in (plan.reason or "")


def test_a_checkpoint_is_not_judged_on_its_calibration_text(tmp_path: Path, folder: Path) -> None:
    (before,) = _planned(tmp_path, [{"name": "saved"}], models=[{"source": "./mixed"}])
    _edit(folder, calibration={"sha256": before.cell.sections["quality"]["corpus_sha256"]})
    (after,) = _planned(tmp_path, [{"name": "saved"}], models=[{"source": "./mixed"}])
    assert (before.state, after.state) == ("run", "skip")
    assert "calibrated on the text that quality is measured on" in (after.reason or "")


@pytest.mark.parametrize("text", ["{", "[]", '{"dtype": "float9"}', '{"dtype": ["x"]}'])
def test_a_broken_description_is_a_reason_not_a_crash(tmp_path: Path, folder: Path, text: str) -> None:
    (folder / FACTS).write_text(text)
    (plan,) = _planned(tmp_path, [{"name": "saved"}], models=[{"source": "./mixed"}])
    assert plan.state == "skip"
    assert "is no description of a quantized checkpoint" in (plan.reason or "")


def test_labels_come_from_strangers_and_stay_one_short_line() -> None:
    assert Saved("bf16", {"label": "a\nb" + "c" * 500}).label == '"a\\nb' + "c" * 115
    assert Saved("bf16", {"label": 3, "method": "absmax"}).label == "absmax"
    assert Saved("bf16", {}).label == "quantized"


def test_pinned_by_its_weights_and_its_description(folder: Path) -> None:
    before = pin(str(folder), None)
    saved = saved_at(before)
    assert saved == read_saved(folder)
    assert saved is not None
    assert saved.origin["weights"] == pin("builtin:austen-6m", None).weights
    assert saved_at(pin("builtin:austen-6m", None)) is None
    (folder / "README.md").write_text("another card")
    assert pin(str(folder), None).weights == before.weights
    weights = bytearray((folder / checkpoint.WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (folder / checkpoint.WEIGHTS).write_bytes(weights)
    assert pin(str(folder), None).weights != before.weights


def test_what_quantize_says_is_what_it_did(made: dict[str, Any]) -> None:
    origin = made["origin"]
    kept = [name for name, reason in origin["left_unquantized"].items() if "excluded" in reason]
    assert (origin["layers_quantized"], len(kept)) == (5 * 7, 7)
    folder = Path(made["folder"])
    assert made["folder_bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    model: Any = qbench.load_quantized(folder)
    layers = [module for module in model.modules() if type(module).__name__ == "QuantizedLinear"]
    weights = sum(layer.in_features * layer.out_features for layer in layers)
    stored = sum(
        tensor.nbytes for layer in layers for name, tensor in layer.state_dict().items() if name != "bias"
    )
    assert origin["bits_per_weight"]["quantized"] == pytest.approx(8 * stored / weights)
    saved_bytes = 2 * weights - stored
    assert made["weight_bytes_before"] - made["weight_bytes"] == saved_bytes
    assert origin["date"].startswith("20")
    assert (origin["seed"], origin["dtype"], origin["calibration"]) == (0, "bf16", None)
    assert origin["layers"]["overrides"][0]["num_bits"] == 8
    assert math.isfinite(made["quantize_s"])


def test_its_own_suite_measures_it_beside_its_base(made: dict[str, Any]) -> None:
    path = Path(made["folder"]) / "suite.yaml"
    assert made["next"] == f"qbench run {path}"
    planned = Planner(load_suite(path)).plan()
    found = [(plan.cell.model.name, plan.cell.method, plan.state) for plan in planned]
    assert found == [("austen-6m", "none", "run"), ("mixed", "saved", "run")]


def test_a_local_base_is_found_from_the_suite_in_the_folder(tmp_path: Path, executor: LocalExecutor) -> None:
    from qbench.models.builtin import DATA

    shutil.copytree(DATA / "austen-6m", tmp_path / "models" / "same")
    made = quantize(
        Order(str(tmp_path / "models" / "same"), "absmax"), tmp_path / "out" / "same", executor=executor
    )
    planned = Planner(load_suite(tmp_path / "out" / "same" / "suite.yaml")).plan()
    assert [plan.state for plan in planned] == ["run", "run"]
    assert planned[0].cell.model.name == "same (base)"
    assert planned[0].cell.model.weights == made["origin"]["weights"]


@pytest.mark.usefixtures("misbehave")
@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("raise", MethodError, "q_proj.*broken on purpose"),
        ("kill", QbenchError, "killed by SIGKILL in phase quantize. Nothing stands under"),
        ("segfault", QbenchError, "killed by SIGSEGV in phase quantize"),
        ("exit0", QbenchError, "exited with code 0 without a result"),
    ],
)
def test_a_worker_that_fails_is_a_typed_error_and_leaves_nothing(
    tmp_path: Path, executor: LocalExecutor, how: str, kind: type[QbenchError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        quantize(Order("builtin:austen-6m", "misbehave", {"how": how}), tmp_path / "it", executor=executor)
    assert list(tmp_path.iterdir()) == []


def test_out_of_memory_is_said_with_the_limit(tmp_path: Path, executor: LocalExecutor) -> None:
    order = Order("builtin:austen-6m", "absmax", memory_limit=2**20)
    with pytest.raises(ModelError, match=r"does not fit: .*memory_limit 1 MiB\)\. Nothing stands under"):
        quantize(order, tmp_path / "it", executor=executor)
    assert list(tmp_path.iterdir()) == []


def test_phases_are_heard_and_nothing_quantized_is_nothing_saved(
    tmp_path: Path, executor: LocalExecutor
) -> None:
    heard: list[str] = []
    order = Order("builtin:austen-6m", "absmax", layers=LayersSpec(exclude=["*"]))
    with pytest.raises(MethodError, match="leave no layer to quantize"):
        quantize(order, tmp_path / "it", heard.append, executor)
    assert heard == ["load", "quantize"]


@pytest.mark.parametrize("text", [None, "mine.txt"])
def test_a_calibrated_method_gets_the_text_that_a_suite_would_give_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.setattr(registry.method_class("absmax"), "statistics", property(lambda self: ("hessian",)))
    (tmp_path / "mine.txt").write_text("A text of one's own, read to see what the inputs are. " * 20)
    said = {"corpus": str(tmp_path / text), "samples": 3} if text else {}
    spec = CalibrationSpec.model_validate(said)
    cell = parent._cell(Order("builtin:austen-6m", "absmax", calibration=spec if said else None))
    (planned,) = _planned(tmp_path, [{"name": "absmax"}], calibration=said)
    assert cell.sections["calibration"] == planned.cell.sections["calibration"]
    noted = parent._origin(Order("builtin:austen-6m", "absmax"), cell)["calibration"]
    assert noted["sha256"] == cell.sections["calibration"]["corpus_sha256"]
    assert (noted["corpus"], noted["samples"]) == (text or "builtin:calibration", said.get("samples", 128))
