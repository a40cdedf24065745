"""Suites from text: defaults, and what each mistake is answered with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qbench.errors import SuiteError
from qbench.fields import HubCorpus
from qbench.probes.energy.section import EnergySpec
from qbench.probes.latency.section import LatencySpec
from qbench.probes.quality.section import QualitySpec
from qbench.results.stats.medians import FEWEST
from qbench.suite.load import load_suite, packaged_suites, parse_suite
from qbench.suite.spec import SECTIONS, Suite

SMALL = "name: small\nmodels:\n  - {source: 'builtin:austen-6m'}\nmethods:\n  - {name: none}\n"
"""Five lines; a test appends line 6."""


def complaint(text: str | bytes) -> str:
    with pytest.raises(SuiteError) as caught:
        parse_suite(text, "s.yaml")
    return str(caught.value)


def test_defaults() -> None:
    suite = parse_suite(SMALL, "s.yaml")
    assert suite.models[0].name == "austen-6m"
    assert suite.models[0].dtypes == ["bf16"]
    assert (suite.devices, suite.repetitions, suite.seed, suite.threads) == (["cpu"], 1, 0, None)
    assert suite.quality == QualitySpec(
        corpus="builtin:persuasion", protocol="gptq", seqlen=512, max_windows=None
    )
    assert suite.calibration is not None
    assert suite.calibration.model_dump() == {
        "corpus": "builtin:calibration",
        "samples": 128,
        "seqlen": 512,
        "seed": 0,
    }
    assert suite.latency is not None
    assert suite.latency.model_dump() == {
        "prompt_lengths": [128],
        "batch_sizes": [1],
        "generated_tokens": 32,
        "repetitions": 7,
        "interleave": 16,
    }
    assert suite.energy == EnergySpec(min_window_s=5.0, trials=3)
    assert (suite.text, suite.file) == (SMALL, "s.yaml")


def test_as_many_rounds_by_default_as_an_interval_needs() -> None:
    assert LatencySpec().repetitions >= FEWEST


def test_sections_switch_off_and_on() -> None:
    suite = parse_suite(SMALL + "energy: false\nlatency: true\nquality: {seqlen: 64}\n", "s.yaml")
    assert suite.energy is None
    assert suite.latency == parse_suite(SMALL, "s.yaml").latency
    assert suite.quality is not None
    assert suite.quality.seqlen == 64


@pytest.mark.parametrize(
    ("written", "size"),
    [("8GiB", 8 * 1024**3), ("500MB", 500_000_000), ("1.5 GiB", 1610612736), ("9999999", 9999999)],
)
def test_memory_limit_is_read_in_bytes(written: str, size: int) -> None:
    assert parse_suite(SMALL + f"memory_limit: {written}\n", "s.yaml").memory_limit == size


@pytest.mark.parametrize(
    ("source", "name", "kind"),
    [
        ("builtin:austen-6m", "austen-6m", "builtin"),
        ("org/Model-1B", "Model-1B", "hub"),
        ("./models/mine/", "mine", "folder"),
        ("/data/mine", "mine", "folder"),
        ("models/tiny.Q4_0.gguf", "tiny.Q4_0", "gguf"),
        ("/" + "long/" * 100 + "mine", "mine", "folder"),
        ("/", "/", "folder"),
    ],
)
def test_sources_get_a_name_and_a_kind(source: str, name: str, kind: str) -> None:
    suite = parse_suite(SMALL.replace("builtin:austen-6m", source), "s.yaml")
    assert (suite.models[0].name, suite.models[0].kind) == (name, kind)


def test_a_corpus_may_be_a_hub_dataset() -> None:
    suite = parse_suite(SMALL + "quality: {corpus: {dataset: a/b, revision: '1'}}\n", "s.yaml")
    assert suite.quality is not None
    assert suite.quality.corpus == HubCorpus(dataset="a/b", split="test", column="text", revision="1")


MISTAKES = [
    ("qualtiy: false", "s.yaml:6:1: qualtiy = false: unknown key; did you mean 'quality'?"),
    (
        "quality: {protocl: gptq}",
        "s.yaml:6:11: quality.protocl = \"gptq\": unknown key; did you mean 'protocol'?",
    ),
    ("quality: {protocol: gpqt}", "6:21: quality.protocol = \"gpqt\": is unknown; did you mean 'gptq'?"),
    ("quality: {seqlen: 1}", "6:19: quality.seqlen = 1: should be greater than or equal to 2"),
    ("quality: {seqlen: '512'}", 'quality.seqlen = "512": should be a whole number'),
    ("quality: {corpus: {datset: x}}", "quality.corpus.datset = \"x\": unknown key; did you mean 'dataset'?"),
    ("quality: {corpus: {mapping: {text: x}}}", "6:19: quality.corpus.dataset: is missing; Hub id"),
    ('devices: ["a\\nb"]', 'devices[0] = "a\\nb": should be one line of text'),
    ('"a\\nb": 1', '6:1: "a\\nb" = 1: unknown key'),
    ("latency: {corpus: x}", '6:11: latency.corpus = "x": unknown key; choose from: batch_sizes'),
    ("quality: {corpus: 3}", "6:19: quality.corpus = 3: should be text; put it in quotes"),
    ("quality: 3", "quality = 3: should be a mapping of keys to values, or true or false"),
    ("energy:", "6:8: energy = null: is empty; write false to switch it off"),
    ("energy: {min_window_s: .inf}", "6:24: energy.min_window_s: .inf is no finite number"),
    ("devices: cuda", '6:10: devices = "cuda": should be a list; write ["cuda"]'),
    ("devices: [cuda:x]", '6:11: devices[0] = "cuda:x": is no device; write cpu, cuda, cuda:N'),
    ("devices: [gpu]", "is no device"),
    ("devices: [cpu, cpu]", '6:16: devices[1] = "cpu": "cpu" stands here twice'),
    ("seed: true", "6:7: seed = true: should be a whole number"),
    ("memory_limit: 8Gib", '6:15: memory_limit = "8Gib": is no size; write a number and a unit'),
    ("memory_limit: 8", "memory_limit = 8: should be greater than or equal to 1048576"),
    ("allow_fallback: yes", '6:17: allow_fallback = "yes": should be true or false'),
    ("layers: {overrides: [{pattern: x}]}", 'layers.overrides[0] = {"pattern": "x"}: changes nothing'),
    ("layers: {overrides: ['*.q']}", 'should be a mapping of keys to values; write {pattern: "*.q"}'),
    (
        "calibration: {corpus: builtin:persuasion}",
        '6:23: calibration.corpus = "builtin:persuasion": is the text',
    ),
    ("latency: {batch_sizes: [1, 1]}", "6:28: latency.batch_sizes[1] = 1: 1 stands here twice"),
    ("latency: {prompt_lengths: []}", "latency.prompt_lengths = []: is empty; give at least one"),
    (
        "exclude: [{mehtod: none}]",
        "6:20: exclude[0].mehtod = \"none\": no cell has 'mehtod'; did you mean 'method'?",
    ),
    (
        "exclude: [{method: nnoe}]",
        'exclude[0].method = "nnoe": no cell has method "nnoe"; did you mean \'none\'?',
    ),
    ("exclude: [{}]", "6:11: exclude[0] = {}: an empty rule"),
    ("exclude: [{method: none}]", "leave nothing to run"),
    ("repetitions: 1000\nmodels: []", "s.yaml:7:1: models: given twice (first in line 2)"),
]


@pytest.mark.parametrize(("line", "expected"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_names_file_line_key_value_and_way_out(line: str, expected: str) -> None:
    assert expected in complaint(SMALL + line + "\n")


MODELS_AND_METHODS = [
    (
        "builtin:austen-6m'}",
        "builtin:a', dtypes: [bf61]}",
        '3:36: models[0].dtypes[0] = "bf61": is unknown; did',
    ),
    (
        "builtin:austen-6m'}",
        "builtin:a', dtype: bf16}",
        "models[0].dtype = \"bf16\": unknown key; did you mean 'dtypes'",
    ),
    ("builtin:austen-6m'}", "builtin:a', revision: v1}", "only a hub model has revisions"),
    ("builtin:austen-6m'}", "a/b/c'}", 'models[0].source = "a/b/c": is no hub id (org/name)'),
    ("{source: 'builtin:austen-6m'}", "{name: a}", "s.yaml:3:5: models[0].source: is missing; builtin:NAME"),
    ("builtin:austen-6m'}", "a/b'}\n  - {source: c/b}", 'models[1].name: "b" stands here twice'),
    (
        "{name: none}",
        "none",
        '5:5: methods[0] = "none": should be a mapping of keys to values; write {name: "none"}',
    ),
    ("{name: none}", "{name: a, b: [4, 4]}", "5:22: methods[0].b[1] = 4: 4 stands here twice"),
    ("{name: none}", "{name: a, b: []}", "methods[0].b = []: is an empty grid"),
    (
        "{name: none}",
        "{name: a, dtype: fp16}",
        '5:22: methods[0].dtype = "fp16": is no parameter of a method',
    ),
    (
        "{name: none}",
        "{name: a}\n  - {name: a}",
        '6:5: methods[1] = {"name": "a"}: \'a\' stands already in methods[0]',
    ),
    ("{name: none}", "{name: a, label: x}\n  - {name: b, label: x}", "label 'x' is taken by methods[0]"),
    ("{name: none}", "{name: '*', b: 1}", "takes no parameters"),
    ("name: small", "name: ../evil", '1:7: name = "../evil": use letters, digits'),
    ("name: small\n", "", "1:1: name: is missing; Name of the suite"),
]


@pytest.mark.parametrize(
    ("old", "new", "expected"), MODELS_AND_METHODS, ids=[new for _, new, _ in MODELS_AND_METHODS]
)
def test_a_mistake_in_models_or_methods(old: str, new: str, expected: str) -> None:
    assert old in SMALL
    assert expected in complaint(SMALL.replace(old, new))


def test_every_problem_is_reported_at_once_in_file_order() -> None:
    lines = complaint(SMALL.replace("small", "a b") + "seed: x\nlatency: {trials: 1}\nenergy: off\n").split(
        "\n"
    )
    assert [line.split(": ")[0] for line in lines] == [
        "s.yaml:1:7",
        "s.yaml:6:7",
        "s.yaml:7:11",
        "s.yaml:8:9",
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "s.yaml:1:1: is empty"),
        (b"# nothing\n", "is empty"),
        (b"just text", "a suite is a mapping"),
        (b"- a", "a suite is a mapping"),
        (b"name: a\nb: \xff", "s.yaml:2: byte 0xff is not UTF-8"),
        (bytes(range(256)), "s.yaml:"),
    ],
)
def test_bytes_that_are_no_suite(data: bytes, expected: str) -> None:
    assert expected in complaint(data)


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert parse_suite(b"\xef\xbb\xbf" + SMALL.encode(), "s.yaml").name == "small"


def test_a_grid_that_explodes_is_refused() -> None:
    axes = ", ".join(f"p{i}: [{', '.join(map(str, range(100)))}]" for i in range(20))
    assert "over a billion variants, more than 10000" in complaint(
        SMALL.replace("{name: none}", f"{{name: a, {axes}}}")
    )


def test_later_stages_point_at_the_file() -> None:
    suite = parse_suite(SMALL.replace("{name: none}", "{name: absmax, num_bits: 9}"), "s.yaml")
    error = suite.error(("methods", 0, "num_bits"), "2 to 8")
    assert str(error) == "s.yaml:5:30: methods[0].num_bits = 9: 2 to 8"
    assert str(suite.error(("quality", "corpus"), "not found", "builtin:x")).startswith(
        "s.yaml:1:1: quality.corpus = "
    )
    made = Suite.model_validate({"name": "a", "models": [{"source": "b"}], "methods": [{"name": "c"}]})
    assert str(made.error(("seed",), "wrong", 3)) == "suite: seed = 3: wrong"


def test_paths_are_relative_to_the_suite_file() -> None:
    suite = parse_suite(SMALL, "some/where/s.yaml")
    assert suite.path("text.txt") == Path("some/where/text.txt")
    assert suite.path("/abs/text.txt") == Path("/abs/text.txt")
    with pytest.raises(SuiteError, match="nobody-of-this-name"):
        suite.path("~nobody-of-this-name/x")


def test_a_file_wins_over_a_packaged_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_suite("quickstart").name == "quickstart"
    (tmp_path / "hub").mkdir()
    assert load_suite("hub").name == "hub"  # a folder does not
    (tmp_path / "quickstart").write_text(SMALL)
    assert load_suite("quickstart").name == "small"
    assert load_suite(tmp_path / "quickstart").file == str(tmp_path / "quickstart")


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.yaml").write_text(SMALL)
    os.mkfifo(tmp_path / "pipe")
    for name, expected in [
        ("quickstrt", "did you mean 'quickstart'?"),
        ("folder", "is a folder; name a file in it: folder/a.yaml"),
        ("pipe", "neither a file nor a folder"),
        ("a\0b", ""),
        ("x" * 5000, ""),
        ("", "folder"),
    ]:
        with pytest.raises(SuiteError) as caught:
            load_suite(name)
        assert expected in str(caught.value)
        assert len(str(caught.value)) < 300
        assert str(caught.value).isprintable()


def test_the_known_keys_of_every_section_are_found_for_near_misses() -> None:
    schema = Suite.model_json_schema()
    assert {model.__name__ for model in SECTIONS.values()} == {*schema["$defs"], "Suite"}


def test_packaged_suites_are_those_of_the_folder() -> None:
    folder = Path(__file__).parents[2] / "suites"
    assert packaged_suites() == sorted(path.stem for path in folder.glob("*.yaml"))


def test_reading_a_suite_imports_no_torch() -> None:
    code = (
        "import sys, qbench.suite.load as l, qbench.suite.spec as s;"
        "l.load_suite('quickstart'); s.json_schema();"
        "print(sorted({'torch', 'transformers', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
