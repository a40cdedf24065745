"""What becomes of a timed metric that cannot be decided: never dropped, and never taken for fine."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from qbench.errors import SuiteError
from qbench.gate.ab.environment_differences import differences
from qbench.gate.ab.install import Installed
from qbench.gate.ab.paired_run import MOST_JUMPS, MOST_LACKS
from qbench.gate.ab.pairs import Pair
from qbench.gate.ab.sampling import SHOWN_BLOCKS
from qbench.gate.ab.timed_limits import check_kinds, check_sampled, timed_limits
from qbench.gate.ab.versions import Entry, Role, Version
from qbench.gate.verdicts.finding import Finding
from qbench.results.store.record import Record
from qbench.suite.load import parse_suite
from qbench.suite.spec import Suite
from tests.gate.ab.stage import LATENCY, Needs, Play, cell, noisy, steady

QUANTIZE = {"quantize_s": 1.2}
DECODE = {"decode_s_per_token": 1.03}


def of(played: Play, metric: str, label: str = "a") -> Finding:
    (found,) = [one for one in played.result().findings if (one.cell, one.metric) == (label, metric)]
    return found


@pytest.mark.parametrize(("budget_s", "verdict", "code"), [(100.0, "undecided", 3), (20_000.0, "worse", 1)])
def test_a_slower_candidate_does_not_push_itself_out(budget_s: float, verdict: str, code: int) -> None:
    played = Play(["a"], budget_s=budget_s, quantizes=True, thresholds=QUANTIZE, confirm=True)
    played.stages["candidate"].quantize_s = played.stages["candidate"].quantize_turn_s = 10.0
    found = of(played.run(), "quantize_s")
    assert (found.verdict, found.gated, played.result().exit_code) == (verdict, True, code)
    assert found.samples is not None
    assert found.samples > 5, "it is judged by what the baseline takes"
    assert played.paired_runs[0].closed == {}


def test_a_slower_candidate_does_not_wait_for_what_cannot_be_decided() -> None:
    thresholds = {**QUANTIZE, "decode_s_per_token": 1.0001}
    played = Play(["a"], play=noisy(1), budget_s=500, quantizes=True, thresholds=thresholds, confirm=False)
    played.stages["candidate"].quantize_turn_s = 10.0
    assert (of(played.run(), "quantize_s").samples or 0) > 5
    errands = [errand for *_, errand in played.turns]
    decided = len(errands) - errands[::-1].index("quantize")
    while_open = "".join("q" if errand == "quantize" else "r" for errand in errands[:decided])
    assert "r" * (2 * 2 + 1) not in while_open, (
        "it waits for rounds, of which each turn takes one on both versions"
    )


@pytest.mark.parametrize(("budget_s", "verdict", "code"), [(100.0, "same", 0), (15.0, "undecided", 3)])
def test_what_takes_long_waits_for_the_others_and_has_what_is_left(
    budget_s: float, verdict: str, code: int
) -> None:
    thresholds = {**QUANTIZE, **DECODE}
    played = Play(["a", "b"], budget_s=budget_s, quantizes=True, thresholds=thresholds, confirm=False)
    for stage in played.stages.values():
        stage.quantize_turn_s = 1.0
    found = of(played.run(), "quantize_s")
    assert (found.verdict, found.gated, played.result().exit_code) == (verdict, True, code)
    assert {one.verdict for one in played.result().findings if one.metric != "quantize_s"} == {"same"}
    errands = [errand for *_, errand in played.turns]
    last_round = len(errands) - errands[::-1].index("round")
    assert errands[:last_round].count("quantize") <= 4, "one lap of each, which tells what it takes"


def lacks(*names: Role, until: int = 10**6) -> Play:
    played = Play(["a"], quantizes=True, thresholds={**QUANTIZE, **DECODE}, confirm=False)
    for name in names:
        played.stages[name].no_number = lambda number: "no memory" if number < until else None
    return played.run()


@pytest.mark.parametrize(
    ("names", "verdict", "code"),
    [
        (["candidate"], "missing", 1),
        (["baseline"], "undecided", 3),
        (["baseline", "candidate"], "undecided", 3),
    ],
)
def test_a_side_that_gives_no_number(names: list[Role], verdict: str, code: int) -> None:
    played = lacks(*names)
    found = of(played, "quantize_s")
    assert (found.verdict, found.gated, played.result().exit_code) == (verdict, True, code)
    assert f"{names[0]}: no memory" in found.reason
    assert sum(errand == "quantize" for *_, errand in played.turns) == 2 * MOST_LACKS


def test_a_number_that_lacked_for_a_moment_is_decided_all_the_same() -> None:
    played = lacks("candidate", until=MOST_LACKS - 1)
    assert of(played, "quantize_s").verdict == "same"


def test_a_number_that_neither_side_gives_and_nobody_says_why_is_undecided() -> None:
    played = Play(["a"], quantizes=True, thresholds={**QUANTIZE, **DECODE}, confirm=True)
    for stage in played.stages.values():
        stage.quantize_s = None
    found = of(played.run(), "quantize_s")
    assert (found.verdict, found.gated, played.result().exit_code) == ("undecided", True, 3)
    assert "neither version gave a number" in found.reason


def test_two_sides_that_do_not_fit_together_leave_what_is_timed_undecided() -> None:
    played = Play(["a"], thresholds=DECODE, settings={"most_in_memory": 1}, confirm=True).run()
    found = of(played, "decode_s_per_token")
    assert (found.verdict, found.gated, played.result().exit_code) == ("undecided", True, 3)
    assert "do not fit in memory together" in found.reason


def dying(load: int, number: int, factor: float) -> Callable[[Role, str, int], list[float] | None]:
    loads, rounds = Counter[tuple[Role, str]](), noisy(factor)

    def play(name: Role, label: str, at: int) -> list[float] | None:
        loads[name, label] += at == 0
        if (name, label, loads[name, label], at) == ("baseline", "a", load, number):
            return None
        return rounds(name, label, at) if label == "a" else steady(name, label, at)

    return play


@pytest.mark.parametrize(("load", "number"), [(3, 2), (1, 3)])
def test_a_baseline_that_dies_amid_its_laps_leaves_the_comparison_undecided(load: int, number: int) -> None:
    played = Play(
        ["a", "b"], play=dying(load, number, 2.0), thresholds=DECODE, budget_s=300, confirm=True
    ).run()
    found = of(played, "decode_s_per_token")
    assert (found.verdict, found.gated) == ("undecided", True)
    assert (
        f"the baseline's worker ended in load {load}: failed: the worker was killed by SIGSEGV"
        in found.reason
    )
    assert of(played, "decode_s_per_token", "b").verdict == "same"
    assert played.result().exit_code == 3
    (paired,) = [paired for paired in played.paired_runs if paired.words == "a"]
    assert paired.loads == load, "it is not loaded again"
    assert paired.records["baseline"].status == ("ok" if load > 1 else "failed"), "the first record stays"


def test_a_clock_that_jumps_now_and_then_costs_laps_that_are_counted() -> None:
    def jumps(name: Role, label: str, number: int) -> list[float]:
        return [3600.0, 0.01, 0.01] if number % 2 and name == "baseline" else steady(name, label, number)

    played = Play(["a"], play=jumps, thresholds=DECODE, confirm=True).run()
    (paired,) = played.paired_runs
    found = of(played, "decode_s_per_token")
    assert (found.verdict, paired.closed) == ("same", {})
    assert paired.jumps["a 0"] >= 3
    assert f"left out {paired.jumps['a 0']} paired rounds" in found.reason
    assert found.samples == paired.blocks["a 0"]


def test_many_jumps_end_nothing_while_some_laps_can_be_believed() -> None:
    def jumps(name: Role, label: str, number: int) -> list[float]:
        return [math.nan, 0.01, 0.01] if number % 2 else steady(name, label, number)

    played = Play(["a"], play=jumps, family=Needs(3 * MOST_JUMPS)).run()
    assert len(played.family.laps["a 0"]) == 3 * MOST_JUMPS
    assert played.paired_runs[0].jumps["a 0"] > MOST_JUMPS


def test_a_clock_that_always_jumps_decides_nothing() -> None:
    played = Play(["a"], play=lambda *_: [0.02, -1.0, 0.01], thresholds=DECODE, confirm=True).run()
    found = of(played, "decode_s_per_token")
    assert (found.verdict, found.gated, played.result().exit_code) == ("undecided", True, 3)
    assert f"left out {MOST_JUMPS} paired rounds" in found.reason
    assert played.sampling.spent_s < 10, "nor does it eat the budget"


def test_what_the_suite_does_not_gate_is_shown() -> None:
    off = {"prefill_s": math.inf}
    beside = Play(["a"], play=noisy(1.5), thresholds={**off, "decode_s_per_token": 1.03}, confirm=False).run()
    found = of(beside, "prefill_s")
    assert (found.verdict, found.gated, found.samples) == (
        "undecided",
        False,
        beside.paired_runs[0].blocks["a 0"],
    )
    assert found.change == pytest.approx(1, abs=0.05)
    assert of(beside, "decode_s_per_token").verdict == "worse"
    alone = Play(
        ["a"], play=noisy(1.5), thresholds={**off, "decode_s_per_token": math.inf}, confirm=True
    ).run()
    shown = of(alone, "decode_s_per_token")
    assert (shown.gated, shown.samples, alone.paired_runs[0].loads) == (False, SHOWN_BLOCKS, 1)
    assert shown.change == pytest.approx(1.5, abs=0.1)
    assert shown.baseline == pytest.approx(0.01, rel=0.1)


def test_nothing_is_loaded_again_for_what_is_only_shown() -> None:
    slow = Play(["a"], thresholds={"prefill_s": math.inf}, budget_s=10, settings={"lap_s": 1.0}, confirm=True)
    found = of(slow.run(), "prefill_s")
    assert (found.samples, slow.paired_runs[0].loads) == (3, 1)


def test_what_is_only_shown_takes_laps_of_the_first_load_alone() -> None:
    thresholds = {"quantize_s": math.inf, "decode_s_per_token": 1.0001}
    played = Play(["a"], play=noisy(1), thresholds=thresholds, budget_s=30, quantizes=True, confirm=True)
    played.stages["candidate"].quantize_turn_s = 5.0
    played.run()
    (paired,) = played.paired_runs
    assert paired.loads > 1
    assert of(played, "quantize_s").samples == paired.blocks["a quantize"] < SHOWN_BLOCKS
    costly = Play(["a"], thresholds={"quantize_s": math.inf}, budget_s=30, quantizes=True, confirm=True)
    costly.stages["baseline"].quantize_turn_s = 0.5
    assert of(costly.run(), "quantize_s").samples == 1
    assert played.sampling.spent_s < 32, "a lap that takes long is not begun once more"


def suite(gate: str, latency: str = "{}") -> Suite:
    text = f"name: s\nmodels: [{{source: m}}]\nmethods: [{{name: none}}]\nlatency: {latency}\ngate:\n{gate}"
    return parse_suite(text, "s.yaml")


@pytest.mark.parametrize("name", ["load_s", "compile_s"])
def test_what_laps_cannot_decide_is_an_error_of_the_suite(name: str) -> None:
    with pytest.raises(SuiteError, match=rf"s.yaml:6:\d+: gate.{name} = 1.1: .* one number a load"):
        check_kinds(suite(f"  {name}: 1.1\n"))
    with pytest.raises(SuiteError, match=rf"s.yaml:7:\d+: gate.overrides\[0\].{name} = 1.1: "):
        check_kinds(suite(f"  overrides:\n  - {{match: {{method: none}}, {name}: 1.1}}\n"))
    check_kinds(
        suite(
            f"  {name}: false\n  prefill_s: 1.1\n  peak_memory_bytes: 1.1\n"
            "  perplexity: 1.1\n  perplexity_ratio: 1.1\n"
        )
    )


def pair(state: str = "run", **changes: Any) -> Pair:
    planned = cell("x", **changes)
    entry = Entry(planned.to_dict(), planned, state, None)
    return Pair({"baseline": entry, "candidate": entry})


def test_a_threshold_of_what_no_cell_measures_is_an_error_of_the_suite() -> None:
    silent, loud = pair(layers={}), pair()
    check_sampled(suite("  quantize_s: 1.2\n"), [silent, loud])
    with pytest.raises(
        SuiteError, match=r"s.yaml:6:\d+: gate.quantize_s = 1.2: no cell .* measures quantize_s"
    ):
        check_sampled(suite("  quantize_s: 1.2\n"), [silent])
    with pytest.raises(SuiteError, match="no cell that this is for measures energy_j_per_token"):
        check_sampled(suite("  energy_j_per_token: 1.2\n"), [silent, loud])
    check_sampled(suite("  energy_j_per_token: 1.2\n"), [pair(energy={"trials": 1})])
    check_sampled(suite("  quantize_s: 1.2\n"), [silent, pair("skip", layers={})])
    one_token = pair(latency={**LATENCY, "generated_tokens": 1})
    with pytest.raises(SuiteError, match="measures decode_s_per_token"):
        check_sampled(suite("  decode_s_per_token: 1.2\n"), [one_token])
    check_sampled(suite("  prefill_s: false\n"), [one_token])
    narrow = suite("  overrides:\n  - {match: {method: none}, quantize_s: 1.1}\n")
    with pytest.raises(SuiteError, match=r"overrides\[0\].quantize_s"):
        check_sampled(narrow, [loud, pair(method="none", layers={})])


def test_false_means_shown_and_no_word_means_not_sampled() -> None:
    limits = timed_limits(suite("  prefill_s: false\n  load_s: false\n  kl_max: false\n").gate, pair())
    assert limits == {"prefill_s": math.inf, "decode_s_per_token": 1.03}
    narrow = suite("  overrides:\n  - {match: {method: absmax}, prefill_s: false, quantize_s: 1.5}\n").gate
    assert timed_limits(narrow, pair()) == {**limits, "quantize_s": 1.5}
    assert timed_limits(narrow, pair(method="none")) == {"prefill_s": 1.03, "decode_s_per_token": 1.03}


def world(**changes: Any) -> Version:
    packages = {"torch": "2.13.0", "pandas": "3.0"} | changes.pop("packages", {})
    known = {"python": "3.11.7", "qbench": "1", "git": {"commit": "a"}, "packages": packages, **changes}
    return Version("baseline", Installed("python", "v", ""), None, environment=known)  # type: ignore[arg-type]


def ran(threads: int) -> list[Record]:
    return [Record(cell("x"), "", "", "ok", environment={"threads": threads})]


def test_another_torch_is_refused_and_another_pandas_told() -> None:
    other = world(packages={"torch": "2.14.0", "pandas": "3.1"}, git={"commit": "b"}, qbench="2")
    versions: dict[Role, Version] = {"baseline": world(), "candidate": other}
    found = differences(versions, (), gpu=False)
    assert found.deciding == ("packages.torch: A: 2.13.0; B: 2.14.0",)
    assert found.others == ("packages.pandas: A: 3.0; B: 3.1",)
    assert found.refusal is not None
    assert "packages.torch: A: 2.13.0; B: 2.14.0." in found.refusal
    assert found.refusal.endswith("--accept-environment packages.torch")
    accepted = differences(versions, ["packages"], gpu=False)
    assert (accepted.refusal, accepted.accepted) == (None, found.deciding)
    assert set(accepted.all) == set(found.all)


def test_variables_that_a_version_sets_by_itself_are_told() -> None:
    versions: dict[Role, Version] = {
        "baseline": world(),
        "candidate": world(variables={"OMP_NUM_THREADS": "1"}),
    }
    found = differences(versions, (), gpu=False)
    assert (found.refusal, found.others) == (None, ("variables.OMP_NUM_THREADS: A: –; B: 1",))


def test_another_python_and_other_threads_are_refused() -> None:
    versions: dict[Role, Version] = {"baseline": world(), "candidate": world(python="3.12.1")}
    assert differences(versions, (), gpu=False).deciding == ("python: A: 3.11.7; B: 3.12.1",)
    assert differences(versions, ["python"], gpu=False).refusal is None
    same: dict[Role, Version] = {"baseline": world(), "candidate": world()}
    records: dict[Role, list[Record]] = {"baseline": ran(2), "candidate": ran(1)}
    assert differences(same, (), gpu=False, records=records).deciding == ("threads: A: 2; B: 1",)
    assert differences(same, ["threads"], gpu=False, records=records).refusal is None
    assert differences(same, (), gpu=False).all == ()
