"""The tasks probe against lm-eval's own entry point, a loop over single sequences, and on packed layers."""

from __future__ import annotations

import copy
import json
import random
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from qbench.errors import ModelError
from qbench.probes.tasks.definitions import Tasks, lm_eval_version, task_folder
from qbench.probes.tasks.measure import lm_eval_tasks as probe
from qbench.probes.tasks.metrics import stderr_of_mean
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.method import registry
from qbench.quant.model.convert import quantize_model
from tests.probes.conftest import bench_of

NAME = "persuasion_continuation"
ITEMS = 24


def settings(names: list[str], include: str = "builtin:tasks", **changes: Any) -> dict[str, Any]:
    folder = Tasks(task_folder(include))
    return {
        "names": names,
        "include": include,
        "limit": ITEMS,
        "num_fewshot": None,
        "batch_size": 8,
        "sha256": {name: folder.define(name).sha256 for name in names},
        "lm_eval": lm_eval_version(),
        **changes,
    }


def measured(model: Any, tokenizer: Any, **changes: Any) -> dict[str, Any]:
    wanted = settings(changes.pop("names", [NAME]), changes.pop("include", "builtin:tasks"), **changes)
    return probe.measure(bench_of(model, tokenizer, tasks=wanted))


@pytest.fixture(scope="module")
def own(austen: Any, tokenizer: Any) -> dict[str, Any]:
    return measured(austen, tokenizer)["tasks"][0]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every attempt to reach another machine, which fails."""
    tried: list[Any] = []

    def refuse(self: socket.socket, address: Any) -> None:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


def packed(model: Any, method: str, **params: Any) -> Any:
    changed = copy.deepcopy(model)
    layers = {"include": ["*"], "exclude": [], "overrides": []}
    quantize_model(changed, registry.make(method, params), layers)
    return changed


def test_figures_and_documents_are_lm_eval_s_own(
    own: dict[str, Any], austen: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    folder = task_folder("builtin:tasks")
    assert folder is not None
    monkeypatch.chdir(folder)  # lm-eval takes data_files from where the process stands
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)  # seconds of subprocesses
    found = simple_evaluate(
        HFLM(pretrained=austen, tokenizer=copy.deepcopy(tokenizer), batch_size=8),
        tasks=[NAME],
        limit=ITEMS,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
    )
    theirs = found["results"][NAME]
    assert own["documents"] == ITEMS
    for metric in ("acc", "acc_norm"):
        assert own["results"][f"{metric},none"]["value"] == theirs[f"{metric},none"]
        assert own["results"][f"{metric},none"]["stderr"] == theirs[f"{metric}_stderr,none"]
        assert own["items"][f"{metric},none"] == [one[metric] for one in found["samples"][NAME]]
    said = [[answer[0][0] for answer in one["resps"]] for one in found["samples"][NAME]]
    assert own["log_likelihoods"] == pytest.approx(np.array(said))


def test_the_count_and_its_error_equal_a_plain_loop(own: dict[str, Any], austen: Any, tokenizer: Any) -> None:
    folder = task_folder("builtin:tasks")
    assert folder is not None
    lines = (folder / f"{NAME}.jsonl").read_text(encoding="utf-8").splitlines()[:ITEMS]
    right = []
    for item, said in zip(map(json.loads, lines), own["log_likelihoods"], strict=True):
        begin = tokenizer(item["context"])["input_ids"]
        sums = []
        for choice in item["choices"]:
            ids = tokenizer(f"{item['context']} {choice}")["input_ids"]
            with torch.no_grad():
                logs = austen(torch.tensor([ids])).logits[0].double().log_softmax(-1)
            sums.append(sum(float(logs[i - 1, ids[i]]) for i in range(len(begin), len(ids))))
        assert said == pytest.approx(sums, abs=1e-3)
        right.append(float(np.argmax(sums) == item["answer"]))
    assert own["items"]["acc,none"] == right
    assert own["results"]["acc,none"]["value"] == pytest.approx(np.mean(right), abs=1e-12)
    assert own["results"]["acc,none"]["stderr"] == pytest.approx(stderr_of_mean(right), abs=1e-12)
    assert np.std(right, ddof=1) / np.sqrt(ITEMS) == pytest.approx(stderr_of_mean(right), abs=1e-12)


def test_each_method_answers_for_itself_whatever_ran_before(
    own: dict[str, Any], austen: Any, tokenizer: Any, offline: list[Any]
) -> None:
    two, eight = (
        packed(austen, "zeropoint", num_bits=bits, strategy="group", group_size=64) for bits in (2, 8)
    )
    first = measured(two, tokenizer)["tasks"][0]
    between = measured(eight, tokenizer)["tasks"][0]
    again = measured(two, tokenizer)["tasks"][0]
    base = measured(austen, tokenizer)["tasks"][0]
    assert base == own  # after three others, bit for bit
    assert again == first
    ours = [np.array(one["log_likelihoods"]) for one in (own, first, between)]
    assert (ours[0] != ours[1]).mean() > 0.95
    assert (ours[0] != ours[2]).mean() > 0.95
    assert abs(ours[2] - ours[0]).mean() < 0.1 * abs(ours[1] - ours[0]).mean()
    assert not offline


def test_packed_layers_answer_as_their_dequantized_weights_do(austen: Any, tokenizer: Any) -> None:
    quantized = packed(austen, "absmax", num_bits=4, strategy="channel")
    dense = copy.deepcopy(austen)
    for name, layer in quantized.named_modules():
        if isinstance(layer, QuantizedLinear):
            dense.get_submodule(name).weight.data = layer.dequantize(torch.float32)
    found, wanted = (measured(one, tokenizer)["tasks"][0]["log_likelihoods"] for one in (quantized, dense))
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_bf16_answers_are_summed_in_float32(austen: Any, tokenizer: Any) -> None:
    half = copy.deepcopy(austen).bfloat16()
    found = np.array(measured(half, tokenizer, limit=8)["tasks"][0]["log_likelihoods"])
    assert not np.array_equal(torch.tensor(found).bfloat16().double().numpy(), found)


def test_nothing_outside_is_changed(austen: Any, tokenizer: Any, tmp_path: Path) -> None:
    import os

    padding, environment = tokenizer.pad_token, dict(os.environ)
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    wanted = random.random(), np.random.random(), float(torch.rand(1))
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    state = {key: value.clone() for key, value in austen.state_dict().items()}
    measured(austen, tokenizer, limit=2)
    assert (random.random(), np.random.random(), float(torch.rand(1))) == wanted
    assert tokenizer.pad_token == padding
    assert dict(os.environ) == environment
    assert all(torch.equal(value, state[key]) for key, value in austen.state_dict().items())


def folder_of(path: Path) -> str:
    """A folder with two tasks of one tag, a group of them, a task of plain text and one that generates."""
    text = "It is a truth universally acknowledged"
    (path / "lines.jsonl").write_text(
        json.dumps({"text": text, "label": 1}) + "\n" + json.dumps({"text": text})
    )
    files = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "lines.jsonl"}}}
    choose = {
        **files,
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": ["that", "xyzzy"],
        "doc_to_target": 0,
        "tag": "truths",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    roll = {
        **files,
        "task": "roll",
        "test_split": "test",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}],
    }
    grow = {
        **files,
        "task": "grow",
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{text}}",
        "doc_to_target": "never this",
        "generation_kwargs": {"until": ["."], "max_gen_toks": 3, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    group = {
        "group": "all_truths",
        "task": ["first", "second"],
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
    }
    whole = {"first": {**choose, "task": "first"}, "second": {**choose, "task": "second"}}
    for name, config in {**whole, "roll": roll, "grow": grow, "group": group}.items():
        (path / f"{name}.yaml").write_text(yaml.safe_dump(config))
    return str(path)


def test_groups_tags_perplexities_and_generation(
    austen: Any, tokenizer: Any, tmp_path: Path, offline: list[Any]
) -> None:
    folder = folder_of(tmp_path)
    found = measured(austen, tokenizer, names=["all_truths", "roll"], include=folder, limit=None)
    assert [task["name"] for task in found["tasks"]] == ["first", "second", "roll"]
    assert [group["name"] for group in found["groups"]] == ["all_truths"]
    assert found["groups"][0]["results"]["acc,none"]["value"] == 1.0
    assert found["entries"] == {"all_truths": ["all_truths"], "roll": ["roll"]}
    roll = found["tasks"][2]
    nat = roll["log_likelihoods"]
    assert len(nat) == 2
    words, total = 2 * 6, -sum(one[0] for one in nat)
    assert roll["results"]["word_perplexity,none"]["value"] == pytest.approx(np.exp(total / words))
    tagged = measured(austen, tokenizer, names=["truths"], include=folder, limit=None)
    assert tagged["entries"] == {"truths": ["first", "second"]}
    grown = measured(austen, tokenizer, names=["grow"], include=folder, limit=None)["tasks"][0]
    assert grown["log_likelihoods"] is None
    assert {value["value"] for value in grown["results"].values()} == {0.0}
    assert not offline


def test_a_file_that_changed_since_the_plan_is_refused(austen: Any, tokenizer: Any, tmp_path: Path) -> None:
    wanted = settings(["first"], folder_of(tmp_path))
    (tmp_path / "lines.jsonl").write_text(json.dumps({"text": "another"}))
    with pytest.raises(ModelError, match="'first' changed while"):
        probe.measure(bench_of(austen, tokenizer, tasks=wanted))


def test_a_dataset_that_does_not_load_names_the_task(austen: Any, tokenizer: Any, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (tmp_path / "lines.jsonl").write_text("{")
    with pytest.raises(ModelError, match="tasks first: "):
        measured(austen, tokenizer, names=["first"], include=folder)


def test_examples_before_the_question_change_the_prompt(
    own: dict[str, Any], austen: Any, tokenizer: Any
) -> None:
    shown = measured(austen, tokenizer, limit=4, num_fewshot=1)["tasks"][0]
    assert shown["num_fewshot"] == 1
    assert shown["log_likelihoods"] != own["log_likelihoods"][:4]
    assert shown["documents_sha256"] != measured(austen, tokenizer, limit=4)["tasks"][0]["documents_sha256"]
