"""Tasks probe: lm-eval's tasks on the prepared model, in process, with every document's outcome kept.

lm-eval's own `HFLM` scores the model object itself, so that what answers is the really quantized one; its
tokenizer, beginning-of-text token, few-shot examples and truncation to the context are HFLM's. Nothing is
cached: neither responses nor requests (lm-eval's caches are not keyed by the model), nor local data files
(read anew into a temporary folder). Two things differ from `lm_eval`'s command line: log-probabilities are
taken in float32 whatever the model's dtype (`softmax_dtype=float32`; in bf16 a sum over tokens keeps three
digits, and answers tie), and standard errors that need a bootstrap take 1,000 draws in this process (its
100,000 start a pool of processes). Standard errors of means are closed forms, s / √n.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import logging
import math
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from qbench.errors import ModelError
from qbench.measure.bench import Bench
from qbench.probes.tasks.definitions import Definition, Tasks, lm_eval_version, search_folders, task_folder
from qbench.probes.tasks.section import TasksSettings

BOOTSTRAP_DRAWS = 1000
"""For standard errors without a closed form (perplexities, F1, BLEU)."""


def measure(bench: Bench) -> dict[str, Any]:
    """Results, standard errors and each document's outcome, by task; see the module's docstring."""
    wanted = TasksSettings.required(bench.cell)
    folder = task_folder(wanted.include)
    definitions = _unchanged(wanted, folder)
    start_s = time.perf_counter()
    with _undisturbed(bench.device), tempfile.TemporaryDirectory(prefix="qbench-tasks-") as scratch:
        loaded = _load(definitions, folder, Path(scratch))
        _set_up(loaded["tasks"].values(), wanted.num_fewshot)
        model = _hflm(bench, wanted.batch_size)
        found = _evaluate(model, loaded, wanted.limit)
    return {
        "unit": "nat",
        "lm_eval": lm_eval_version(),
        "softmax_dtype": "float32",
        "bootstrap_draws": BOOTSTRAP_DRAWS,
        "max_length": int(model.max_length),
        "tasks": [_task(found, name) for name in loaded["tasks"]],
        "groups": [
            {"name": name, "results": _results(found, name)}
            for name in loaded.get("groups", {})
            if name in found.get("groups", {})
        ],
        "entries": {one.name: _leaves(found, one) for one in definitions},
        "elapsed_s": time.perf_counter() - start_s,
    }


def _unchanged(wanted: TasksSettings, folder: Path | None) -> list[Definition]:
    """The definitions of the cell's names; ModelError where a file changed since the plan was made."""
    tasks = Tasks(folder)
    definitions = [tasks.define(name) for name in wanted.names]
    for one in definitions:
        if one.sha256 != wanted.sha256[one.name]:
            raise ModelError(
                f"the files of task {one.name!r} changed while the suite was running; start it anew"
            )
    return definitions


def _load(definitions: list[Definition], folder: Path | None, scratch: Path) -> dict[str, Any]:
    """lm-eval's tasks and groups. Those of local files get a file that includes their own, with absolute
    paths and a cache that is thrown away: lm-eval takes relative ones from where the process happens to
    stand."""
    from lm_eval.tasks import TaskManager

    overlays = scratch / "tasks"
    overlays.mkdir()
    for definition in definitions:
        for name, data in definition.overlays.items():
            options = {**data["dataset_kwargs"], "cache_dir": str(scratch / "data")}
            text = {
                **data,
                "dataset_kwargs": options,
                "task": name,
                "tag": None,  # or the tag would stand for the tasks of this folder alone
                "include": str(definition.defined_in[name]),
            }
            (overlays / f"{name}.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    folders = [str(path) for path in search_folders(definitions, folder)]
    manager = TaskManager(include_path=[*folders, str(overlays)], include_defaults=False)
    try:
        return dict(manager.load([one.name for one in definitions]))
    except Exception as error:  # whatever a dataset's reader or the task's own code raises
        names = ", ".join(one.name for one in definitions)
        raise ModelError(f"tasks {names}: {type(error).__name__}: {error}") from error


def _set_up(tasks: Any, num_fewshot: int | None) -> None:
    """Seeds and the number of examples, as lm-eval's `simple_evaluate` sets them: a task that says 0 keeps
    it."""
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    torch.manual_seed(DEFAULT_OTHER_SEED)
    for task in tasks:
        said = task.get_config("num_fewshot")
        if num_fewshot is not None and said != 0:
            task.set_config(key="num_fewshot", value=num_fewshot)
        elif said is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)


def _hflm(bench: Bench, batch_size: int) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=bench.model,
        tokenizer=copy.deepcopy(bench.tokenizer),  # HFLM gives it a padding token
        batch_size=batch_size,
        softmax_dtype="float32",
    )


def _evaluate(model: Any, loaded: dict[str, Any], limit: int | None) -> dict[str, Any]:
    from lm_eval.evaluator import evaluate

    return dict(
        evaluate(
            model,
            loaded,
            limit=limit,
            cache_requests=False,
            bootstrap_iters=BOOTSTRAP_DRAWS,
            log_samples=True,
        )
    )


@contextlib.contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Leaves the states of random numbers, the environment and lm-eval's logging as they were."""
    states = random.getstate(), np.random.get_state()
    log = logging.getLogger("lm_eval")
    before, serial = log.level, os.environ.get("DISABLE_MULTIPROC")
    log.setLevel(logging.ERROR)
    os.environ["DISABLE_MULTIPROC"] = "1"  # bootstraps in this process
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        log.setLevel(before)
        if serial is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = serial


def _leaves(found: dict[str, Any], definition: Definition) -> list[str]:
    """The results that a name of the suite stands for: its own, or those of its tasks, for a tag or a group
    that lm-eval gives no figure of."""
    if definition.name in found["samples"] or definition.name in found.get("groups", {}):
        return [definition.name]
    return [name for name in found["samples"] if name in definition.defined_in]


def _task(found: dict[str, Any], name: str) -> dict[str, Any]:
    """One task: its results, and by document what each metric gave and what the model said."""
    samples = found["samples"][name]
    filters = list(dict.fromkeys(sample["filter"] for sample in samples))
    first = sorted(
        (one for one in samples if one["filter"] == filters[0]), key=lambda one: int(one["doc_id"])
    )
    return {
        "name": name,
        "version": found["versions"].get(name),
        "output_type": found["configs"][name].get("output_type"),
        "num_fewshot": found["n-shot"].get(name),
        "documents": len(first),
        "documents_sha256": _documents_sha256(first),
        "results": _results(found, name),
        "items": {key: values for one in filters for key, values in _items(samples, one)},
        "log_likelihoods": _log_likelihoods(first),
    }


def _results(found: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """`metric,filter` → value, standard error (null where lm-eval has none), direction."""
    whole = found["results"].get(name) or found["groups"][name]
    better = found["higher_is_better"].get(name, {})
    results = {}
    for key, value in whole.items():
        metric, comma, kind = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        results[key] = {
            "value": _number(value),
            "stderr": _number(whole.get(f"{metric}_stderr,{kind}")),
            "higher_is_better": better.get(metric),
        }
    return results


def _items(samples: list[dict[str, Any]], kind: str) -> Iterator[tuple[str, list[Any]]]:
    """(`metric,filter`, value by document) for each metric whose values are numbers or tuples of numbers."""
    own = sorted((one for one in samples if one["filter"] == kind), key=lambda one: int(one["doc_id"]))
    for metric in own[0]["metrics"] if own else ():
        values = [_plain(one.get(metric)) for one in own]
        if any(value is not None for value in values):
            yield f"{metric},{kind}", values


def _log_likelihoods(samples: list[dict[str, Any]]) -> list[list[float | None]] | None:
    """In nat, by document and request (for a multiple choice, its choices); None where a task generates
    text."""
    found = []
    for sample in samples:
        answers = [responses[0] for responses in sample["resps"]]
        if any(isinstance(answer, str) for answer in answers):
            return None
        found.append([_number(one[0] if isinstance(one, tuple | list) else one) for one in answers])
    return found


def _documents_sha256(samples: list[dict[str, Any]]) -> str:
    """Over documents, prompts and targets: two cells are paired only where it is equal."""
    parts = [sample[key] for sample in samples for key in ("doc_hash", "prompt_hash", "target_hash")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """A document's value as JSON: a number, or a list of numbers; None for anything else."""
    if isinstance(value, tuple | list):
        inner = [_number(one) for one in value]
        return None if None in inner else inner
    return _number(value)


def _number(value: Any) -> float | None:
    """A finite float; None for lm-eval's "N/A" and whatever else is none."""
    if isinstance(value, bool | int | float | np.number | np.bool_) and math.isfinite(float(value)):
        return float(value)
    return None
