"""Small shares of the proof in docs/gate.md; `python -m tests.gate.proof.proof` runs the whole."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from qbench.gate.baseline.baseline_cell import baseline_cells
from qbench.gate.verdicts.exact import exact_findings
from qbench.results.store.record import Record
from qbench.suite.gate import GateSpec
from tests.gate.proof.simulation import EIGHT, ROUND, Scenario, recordings, simulate
from tests.results import factory

CELLS = 60
ENOUGH = 1e-3
"""Probability with which a test here may fail for nothing; seeds are fixed."""


@pytest.mark.parametrize("kind", ["quiet", "busy"])
def test_the_recorded_noise_is_what_it_claims(kind: str) -> None:
    """Positive, of many blocks, with rounds that take far longer than usual: nobody smoothed it."""
    found = recordings(kind)
    assert len(found) >= 2
    for one in found:
        assert one.rounds.shape[0] >= 200
        assert one.rounds.shape[1:] == (2, len(ROUND))
        assert (one.rounds > 0).all()
        prefill = one.rounds[:, :, 0]
        assert prefill.max() > 1.5 * np.median(prefill)


def _alarms(scenario: Scenario, seeds: int) -> tuple[int, int]:
    """Number of runs with a false alarm, and of runs that found what was injected."""
    alarms = found = 0
    for seed in range(seeds):
        worse = {key for key, verdict in simulate(scenario, seed).verdicts.items() if verdict == "worse"}
        alarms += bool(worse - scenario.hurt(seed))
        found += bool(worse & scenario.hurt(seed))
    return alarms, found


SHORT = Scenario(cells=10, budget_s=600)


@pytest.mark.parametrize("scenario", [SHORT, replace(SHORT, metrics=EIGHT), replace(SHORT, noise="busy")])
def test_runs_of_a_against_a_raise_no_more_alarms_than_alpha(scenario: Scenario) -> None:
    """The same runs can alarm: a slowdown of one cell is found in them."""
    alarms, _ = _alarms(scenario, 8)
    assert binomtest(alarms, 8, 0.05, alternative="greater").pvalue > ENOUGH
    alarms, found = _alarms(replace(scenario, slow=1.5 if scenario.noise == "busy" else 1.15), 5)
    assert binomtest(alarms, 5, 0.05, alternative="greater").pvalue > ENOUGH
    assert found >= 4


def test_effects_of_processes_would_alarm_by_blocks_alone() -> None:
    """The purpose of process starts; and false alarms can be seen at all."""
    varied = replace(SHORT, process_effect=0.05, budget_s=300)
    assert _alarms(replace(varied, confirm=False), 6)[0] >= 4
    assert _alarms(varied, 6)[0] <= 1


def test_a_decode_slower_by_a_twentieth_is_found() -> None:
    _, found = _alarms(replace(SHORT, slow=1.05, budget_s=900), 5)
    assert binomtest(found, 5, 0.9, alternative="less").pvalue > ENOUGH


def test_a_run_without_time_is_undecided() -> None:
    assert set(simulate(Scenario(budget_s=0.5), 0).verdicts.values()) == {"undecided"}


def _cells(seed: int) -> list[Record]:
    """Sixty quantized cells, each with losses and layers of its own, and their base."""
    rng = np.random.default_rng(seed)
    made = [factory.record()]
    for index in range(CELLS):
        nll = [value * float(rng.uniform(1.0, 1.2)) for value in factory.LOSSES]
        layers = [{**factory.layer(), "name": f"layer {layer}"} for layer in range(7)]
        params = {"cell_changes": {"params": {"num_bits": 8, "index": index}}}
        samples = factory.samples(perplexity=factory.perplexity(nll))
        made.append(factory.record("absmax", **params, samples=samples, layers=layers))
    return made


def _worse(before: list[Record], now: list[Record]) -> set[tuple[str, str]]:
    found = exact_findings(baseline_cells(before), baseline_cells(now), GateSpec())
    return {(finding.cell_id, finding.metric) for finding in found if finding.red}


def _with(records: list[Record], index: int, **changes: Any) -> list[Record]:
    return [*records[:index], dataclasses.replace(records[index], **changes), *records[index + 1 :]]


@pytest.mark.parametrize("seed", range(10))
def test_a_perplexity_worse_by_half_a_percent_is_always_found(seed: int) -> None:
    cells = _cells(seed)
    index = random.Random(seed).randrange(1, CELLS + 1)
    perplexity = cells[index].samples["perplexity"]
    up = np.log(1.005) * factory.TOKENS  # the same for each window: the mean grows by log 1.005
    slower = {**perplexity, "nll": [value + float(up) for value in perplexity["nll"]]}
    now = _with(cells, index, samples={**cells[index].samples, "perplexity": slower})
    cell_id = cells[index].cell.id
    assert _worse(cells, now) == {(cell_id, "perplexity"), (cell_id, "perplexity_ratio")}
    assert _worse(cells, cells) == set()


@pytest.mark.parametrize("layer", range(7))
def test_a_silent_fallback_of_any_one_layer_is_always_found(layer: int) -> None:
    cells = _cells(0)
    for index in (1, 30, CELLS):
        layers = list(cells[index].layers)
        executed = [{**layers[layer]["executed"][0], "kernel": "dequant_gemm"}]
        layers[layer] = {**layers[layer], "executed": executed}
        assert _worse(cells, _with(cells, index, layers=layers)) == {(cells[index].cell.id, "kernels")}
