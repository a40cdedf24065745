"""Facts about processors: those that stored runs are compared by stay the kernel's own words."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from archspec.cpu import TARGETS, detect

from qbench.run.provenance import environment

ROOT = Path(__file__).resolve().parents[3]
X86 = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC 9575F
stepping\t: 1
flags\t\t: fpu sse2 avx2 avx512f avx512_bf16

processor\t: 1
"""
ARM = """processor\t: 0
Features\t: fp asimd sve i8mm bf16
CPU implementer\t: 0x41
CPU part\t: 0xd4f

processor\t: 1
"""


def _machine(monkeypatch: pytest.MonkeyPatch, cpuinfo: str, machine: str) -> None:
    """Lets both readers see another machine's /proc/cpuinfo."""
    read_text = Path.read_text

    def read(path: Path, *words: str) -> str:
        return cpuinfo if path == Path("/proc/cpuinfo") else read_text(path, *words)

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(detect, "open", lambda path: io.StringIO(cpuinfo), raising=False)
    monkeypatch.setattr(detect, "_machine", lambda: machine)
    monkeypatch.setattr(environment.platform, "processor", lambda: "")
    monkeypatch.setattr(environment.platform, "machine", lambda: machine)


def test_x86_keeps_the_kernels_words_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, X86, "x86_64")
    found = environment.cpu()
    assert found["model"] == "AMD EPYC 9575F"
    assert found["family"] == "26 2 1"
    assert found["flags"] == ["fpu", "sse2", "avx2", "avx512f", "avx512_bf16"]
    assert found["cores"] == len(os.sched_getaffinity(0))


def test_arm_has_its_features_and_the_model_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, ARM, "aarch64")
    found = environment.cpu()
    assert found["model"] == "aarch64", "another name would leave every stored run of such a machine behind"
    assert found["flags"] == ["asimd", "bf16", "fp", "i8mm", "sve"]


def test_the_manifest_has_the_shape_of_the_committed_one() -> None:
    (path,) = (ROOT / "results/examples/tour").glob("*/manifest.json")
    then = json.loads(path.read_bytes())["environment"]
    now = environment.environment()
    assert {*now["cpu"]} - {"governor"} == {*then["cpu"]} - {"governor"}
    assert {*environment.fingerprint(now)} == {*environment.fingerprint(then)}
    for key, value in then["cpu"].items():
        assert type(now["cpu"][key]) is type(value), key


def test_the_microarchitecture_is_a_known_one() -> None:
    assert environment.microarchitecture() in TARGETS
