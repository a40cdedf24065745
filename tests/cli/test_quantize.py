"""`qbench quantize` as a user meets it: a folder that loads, or one message and nothing left behind."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from qbench.cell import ModelRef
from qbench.cli.app import app
from qbench.cli.arguments import calibration_spec, layers_spec, pairs, size
from qbench.errors import MethodError, ModelError, QbenchError, SuiteError
from qbench.models.builtin import DATA, MODELS
from qbench.run import quantize as parent
from qbench.run.worker.model_card import model_card, suite_text
from qbench.suite.load import parse_suite

AUSTEN = "builtin:austen-6m"


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qbench", "quantize", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A checkpoint made by the command, in a folder that did not exist yet."""
    place = tmp_path_factory.mktemp("cli")
    words = ["--param", "num_bits=4", "--param", "strategy=group", "--exclude", "*.layers.0.*"]
    return place, run(AUSTEN, "absmax", "-o", "new/austen-4bit", *words, cwd=place)


def test_it_says_what_was_done_and_what_to_do_next(
    made: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    place, done = made
    assert done.returncode == 0, done.stderr
    assert "absmax num_bits=4 strategy=group: 35 layers quantized, 8 left" in done.stdout
    assert "lm_head: shares its weight with model.embed_tokens.weight" in done.stdout
    assert "and 6 more: excluded by '*.layers.0.*'" in done.stdout
    assert "4.25 in quantized layers" in done.stdout
    assert re.search(r"weights: 11\.01 MiB before, \d\.\d\d MiB after; \d\.\d\d MiB on disk", done.stdout)
    assert "next: qbench run new/austen-4bit/suite.yaml" in done.stdout
    assert done.stderr.split() == ["load", "…", "quantize", "…", "save", "…"]
    assert [path.name for path in (place / "new").iterdir()] == ["austen-4bit"]
    again = run(AUSTEN, "absmax", "-o", "new/austen-4bit", cwd=place)
    assert (again.returncode, again.stdout) == (2, "")
    assert "new/austen-4bit exists; a checkpoint is never overwritten" in again.stderr
    assert "Traceback" not in again.stderr


def test_the_cards_code_runs_with_model_and_tokenizer(
    made: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    place, _ = made
    text = (place / "new" / "austen-4bit" / "README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, cwd=place / "new", check=False
    )
    assert done.returncode == 0, done.stderr
    assert "It is a truth" in done.stdout
    assert "transformers alone would load it wrongly" in text
    assert "`absmax num_bits=4 strategy=group`: 4.25 bits per weight" in text


BAD = [
    (["builtin:austen", "absmax"], ModelError, "did you mean 'austen-6m'"),
    (["./nowhere", "absmax"], ModelError, "no such folder or file"),
    (["empty", "absmax"], ModelError, "has no config.json"),
    ([AUSTEN, "absmux"], MethodError, "did you mean 'absmax'"),
    ([AUSTEN, "none"], MethodError, "method none quantizes nothing"),
    ([AUSTEN, "saved"], MethodError, "method saved quantizes nothing"),
    ([AUSTEN, "absmax", "--param", "num_bit=4"], MethodError, "did you mean 'num_bits'"),
    ([AUSTEN, "absmax", "--param", "num_bits=four"], MethodError, "num_bits = 'four'"),
    ([AUSTEN, "absmax", "--param", "num_bits=[4, 8]"], MethodError, "num_bits = [4, 8]"),
    ([AUSTEN, "absmax", "--param", "num_bits"], SuiteError, "is not KEY=VALUE; write it as num_bits=4"),
    ([AUSTEN, "absmax", "--param", "num_bits=4", "--param", "num_bits=8"], SuiteError, "num_bits twice"),
    ([AUSTEN, "absmax", "--override", "*.q_proj"], SuiteError, "is not PATTERN:KEY=VALUE"),
    ([AUSTEN, "absmax", "--override", "*.q_proj:bits=3"], MethodError, "no parameter 'bits'"),
    ([AUSTEN, "absmax", "--override", "*.q_proj:method=saved"], MethodError, "say method: none"),
    ([AUSTEN, "absmax", "--include", ""], SuiteError, "include.0"),
    ([AUSTEN, "absmax", "--calibration", "builtin:calibration"], MethodError, "drop --calibration"),
    ([AUSTEN, "absmax", "--samples", "3"], MethodError, "reads no calibration text"),
    ([AUSTEN, "absmax", "--revision", "main"], ModelError, "only a hub model has revisions"),
    ([AUSTEN, "absmax", "--device", "cuda:77"], QbenchError, "cuda:77"),
    ([AUSTEN, "absmax", "--memory-limit", "much"], SuiteError, "--memory-limit"),
]


@pytest.mark.parametrize(("words", "kind", "said"), BAD, ids=lambda value: str(value)[:60])
def test_a_mistake_is_told_before_any_work(
    words: list[str], kind: type[QbenchError], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parent.executors, "opened", _no_executor)
    done = CliRunner().invoke(app, ["quantize", *words, "-o", "deep/it"])
    assert isinstance(done.exception, kind), done.exception
    assert said in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def _no_executor(*_: object) -> None:
    raise AssertionError("a worker was started for an order that is wrong")


@pytest.mark.parametrize("where", ["there", "file/it", "/proc/it", "link"])
def test_a_folder_that_cannot_be_made_is_told_first(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parent, "_cell", _no_executor)
    done = CliRunner().invoke(app, ["quantize", AUSTEN, "absmax", "-o", where])
    assert isinstance(done.exception, ModelError), done.exception
    way_out = "choose another name or remove it" if where in ("there", "link") else "choose another place"
    assert way_out in str(done.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "there"]


def test_a_quantized_checkpoint_is_not_quantized_again(
    made: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    source = str(made[0] / "new" / "austen-4bit")
    done = CliRunner().invoke(app, ["quantize", source, "absmax", "-o", str(tmp_path / "it")])
    assert isinstance(done.exception, ModelError)
    said = (
        "is quantized already (absmax num_bits=4 strategy=group); start from the model that it was made from"
    )
    assert f'{said}: "builtin:austen-6m"' in str(done.exception)


def test_weights_that_are_pickled_need_a_word(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(DATA / "austen-6m", tmp_path / "copy"))
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    done = CliRunner().invoke(app, ["quantize", str(copy), "absmax", "-o", str(tmp_path / "it")])
    assert isinstance(done.exception, ModelError)
    assert "--allow-pickle" in str(done.exception)


def test_json_is_whole_and_alone(tmp_path: Path) -> None:
    done = run(AUSTEN, "zeropoint", "-o", "it", "--dtype", "fp32", "--seed", "7", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert done.stderr == ""
    assert found["folder"] == "it"
    origin = found["origin"]
    assert (origin["dtype"], origin["seed"], origin["method"]) == ("fp32", 7, "zeropoint")
    assert origin["params"]["num_bits"] == 8
    assert json.loads((tmp_path / "it" / "qbench.json").read_text())["origin"] == origin


def test_words_become_what_a_suite_would_hold() -> None:
    assert pairs(["a=4", "b=no", "c=false", "d=1e3", "e=null", "f = x=y"], "--param") == {
        "a": 4, "b": "no", "c": False, "d": 1000.0, "e": None, "f": "x=y",
    }  # fmt: skip
    layers = layers_spec([], ["*.a"], ["*.b:num_bits=8,method=absmax"]).model_dump()
    assert layers["include"] == ["*"]
    assert layers["exclude"] == ["*.a"]
    assert layers["overrides"] == [{"pattern": "*.b", "method": "absmax", "num_bits": 8}]
    assert calibration_spec({"corpus": None, "samples": None}) is None
    spec = calibration_spec({"corpus": None, "samples": 3})
    assert spec is not None
    assert (spec.samples, spec.corpus, spec.seqlen) == (3, "builtin:calibration", 512)
    assert (size("1KiB"), size(None)) == (1024, None)


ORIGIN = {
    "source": "builtin:smollm2-135m",
    "note": parent._note("builtin:smollm2-135m"),
    "label": "absmax",
    "method": "absmax",
    "dtype": "bf16",
    "layers_quantized": 3,
    "bits_per_weight": {"quantized": 8.06, "all": 9.0},
}


def test_the_card_of_a_model_that_came_quantized_says_so() -> None:
    text = model_card("somewhere/it", ORIGIN)
    assert "its weights already went through 4 bits, groups of 32" in text
    assert parent._note("builtin:austen-6m") == MODELS["austen-6m"].note
    assert "lost this checkpoint lost too" in (parent._note("x/model.gguf") or "").replace(",", "")
    assert parent._note("owner/name") is None


def _header(text: str) -> dict[str, object]:
    """The card's metadata, read as a hub does it: YAML between the first two lines of dashes."""
    opening, header, body = text.split("---\n", 2)
    assert opening == ""
    assert body.startswith("\n# ")
    found = yaml.safe_load(header)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("base", ["owner/name", "owner/no", "123/456"])
def test_the_cards_header_names_the_base_of_a_hub(base: str) -> None:
    origin = {**ORIGIN, "source": base, "weights": f"hub:{base}@c0ffee"}
    assert _header(model_card("somewhere/it", origin)) == {
        "base_model": base, "base_model_relation": "quantized", "library_name": "qbench",
        "pipeline_tag": "text-generation", "tags": ["qbench", "quantized", "absmax"],
    }  # fmt: skip


def test_the_cards_header_names_no_base_that_a_hub_would_refuse(
    made: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    header = _header((made[0] / "new" / "austen-4bit" / "README.md").read_text())
    assert "base_model" not in header
    assert header["tags"] == ["qbench", "quantized", "absmax"]


@pytest.mark.parametrize("name", ["plain", "ünï cödé: [x]*", "-" * 80, "...a", "'quoted\"", "austen-6m"])
def test_the_suite_in_the_folder_is_valid_whatever_its_name(name: str) -> None:
    base = ModelRef("austen-6m", "owner/austen-6m", "hub:owner/austen-6m@c0ffee", "c0ffee", allow_pickle=True)
    suite = parse_suite(suite_text(f"/tmp/{name}", base, "cuda:0", ORIGIN), f"/tmp/{name}/suite.yaml")
    unquantized, saved = suite.models
    assert (unquantized.source, unquantized.revision, unquantized.allow_pickle) == (
        "owner/austen-6m",
        "c0ffee",
        True,
    )
    assert (saved.kind, saved.name, suite.devices) == ("folder", name, ["cuda:0"])
    assert unquantized.name != saved.name
