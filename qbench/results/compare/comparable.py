"""Facts of machine and software that two sides must share before their numbers are compared.

Deterministic numbers depend on the libraries that compute, on the instructions that they choose kernels by,
on the number of threads (sums are split by it) and, on a GPU, on its model and driver. Timed numbers depend
on everything else too. The subject of the test, qbench and its commit, never has to be the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from qbench.errors import GateError, did_you_mean
from qbench.results.store.manifest_facts import differing

UNDER_TEST = re.compile(r"qbench|git(\..*)?|load_average(\..*)?")
PLACES = re.compile(
    r"variables\.(QBENCH_CACHE|HF_HOME|HF_HUB_.*|CUDA_VISIBLE_DEVICES|TOKENIZERS_PARALLELISM)"
)
"""Variables for places of files and for the choice of one of several equal devices: they change no number."""
COMPUTING = re.compile(
    r"packages\.(torch|transformers|tokenizers|numpy|gguf|lm-eval|triton)|threads|cpu\.(vendor|flags)"
    r"|variables\.(OMP_NUM_THREADS|MKL_.*|ONEDNN_.*|DNNL_.*|ATEN_.*|OPENBLAS_.*|CUBLAS_.*|TORCH.*|PYTORCH_.*)"
)
"""Facts that a deterministic number on a CPU depends on."""
ON_GPU = re.compile(r"gpus\.\d+\.(name|driver|memory_bytes)|variables\.(CUDA_.*|NVIDIA_.*)")
"""Further facts that one on a GPU depends on."""
CHOOSING = re.compile(r"(avx|amx|fma|f16c|sse4|vnni|bf16|asimd|sve|i8mm|fphp|bmi2).*")
"""Flags of a processor by which libraries choose kernels."""

AT_TIMES = ("gpus", "variables")
"""Groups of facts that not every machine has."""
Facts = Mapping[str, str]
"""Dotted key → text, as `qbench.results.store.manifest_facts.facts` gives."""


def required(facts: Facts, *, timed: bool, gpu: bool) -> dict[str, str]:
    """Facts that must be equal, for deterministic numbers or for `timed` ones of different jobs."""
    known = {key: text for key, text in facts.items() if not _known(PLACES, key)}
    known["cpu.vendor"] = _vendor(facts.get("cpu.model", ""))
    if timed:
        return {key: text for key, text in known.items() if not _known(UNDER_TEST, key)}
    found = {key: text for key, text in known.items() if _known(COMPUTING, key)}
    if "cpu.flags" in found:
        chosen = sorted({flag for flag in found["cpu.flags"].split() if CHOOSING.fullmatch(flag)})
        found["cpu.flags"] = " ".join(chosen)
    if gpu:
        found |= {key: text for key, text in known.items() if _known(ON_GPU, key)}
    return found


def compared(
    a: Facts, b: Facts, *, timed: bool, gpu: bool, accept: Iterable[str] = ()
) -> tuple[list[str], list[str]]:
    """Facts that differ and were not accepted, and those that were; a line each, `key: A: …; B: …`.

    `accept` holds keys; the key of a group accepts all of it: `cpu` also accepts `cpu.flags`.
    """
    lines = differing(required(a, timed=timed, gpu=gpu), required(b, timed=timed, gpu=gpu))
    allowed = tuple(accept)
    taken = [line for line in lines if _accepted(line.partition(": ")[0], allowed)]
    return [line for line in lines if line not in taken], taken


def check_accepted(accept: Iterable[str], a: Facts, b: Facts) -> None:
    """Raises GateError for a key that names no fact and no group of either side: it would accept nothing.

    Keys of `AT_TIMES` are allowed: they may be meant for another machine.
    """
    known = {"cpu.vendor", *a, *b}
    parts = {key[:place] for key in known for place, sign in enumerate(key) if sign == "."}
    for key in accept:
        if key not in known | parts and key.partition(".")[0] not in AT_TIMES:
            near = did_you_mean(key, known | parts)
            raise GateError(f"--accept-environment {key}: neither baseline nor candidate has it; {near}")


def refusal(
    lines: Sequence[str], happened: str = "come from", way_out: str = "Measure a baseline here and accept it"
) -> str | None:
    """Reason why two sides are not compared, with the way out; None where nothing differs."""
    if not lines:
        return None
    keys = ",".join(line.partition(": ")[0] for line in lines)
    return (
        f"baseline (A) and candidate (B) {happened} different environments: {'; '.join(lines)}. {way_out}, "
        f"or compare all the same with --accept-environment {keys}"
    )


def _accepted(key: str, allowed: tuple[str, ...]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in allowed)


def _known(pattern: re.Pattern[str], key: str) -> bool:
    return pattern.fullmatch(key) is not None


def _vendor(model: str) -> str:
    """Maker of a processor, by which libraries choose kernels too."""
    return next((name for name in ("Intel", "AMD", "ARM", "Apple", "Neoverse") if name in model), model)
