"""Laps of two versions, played by scripts: who goes first, who goes on, and what a death or a jump leaves."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest

from qbench.gate.ab.sampling import WORTH_BLOCKS
from qbench.gate.ab.versions import ROLES, Role
from qbench.gate.ab.workers import believable
from qbench.gate.timing.timed import TimedComparisons
from tests.gate.ab.stage import THRESHOLDS, Needs, Play, noisy, steady


def test_every_lap_has_a_round_of_each_side_and_a_fair_coin_says_which_goes_first() -> None:
    played = Play(["a", "b"], family=Needs(400), budget_s=1e6).run()
    turns = played.turns
    laps = [turns[index : index + 2] for index in range(0, len(turns), 2)]
    assert len(laps) == 800
    assert all({name for name, *_ in lap} == {"baseline", "candidate"} for lap in laps)
    assert all(lap[0][1:] == lap[1][1:] for lap in laps), "the two rounds of a lap are neighbours"
    first = [lap[0][0] == "baseline" for lap in laps]
    assert abs(sum(first) - 400) < 4 * math.sqrt(200)
    after_baseline = [now for before, now in itertools.pairwise(first) if before]
    assert abs(sum(after_baseline) / len(after_baseline) - 0.5) < 0.12, "a coin does not remember"
    assert {key: len(kept) for key, kept in played.family.laps.items()} == {"a 0": 400, "b 0": 400}


def test_the_seed_draws_the_order() -> None:
    orders = [Play(["a", "b", "c"], seed=seed).run().turns for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_open_units_take_laps_round_robin() -> None:
    turns = Play(["a", "b", "c"]).run().turns
    for start in range(0, len(turns), 6):
        assert Counter(label for _, label, _ in turns[start : start + 6]) == {"a": 2, "b": 2, "c": 2}


def test_what_is_decided_takes_no_more_laps_and_the_others_go_on() -> None:
    class Uneven(Needs):
        def open(self, cell_id: str, start: int | None = None) -> bool:
            return len(self.laps.get(cell_id, [])) < {"a 0": 3, "b 0": 30}[cell_id]

    played = Play(["a", "b"], family=Uneven()).run()
    assert {key: len(kept) for key, kept in played.family.laps.items()} == {"a 0": 3, "b 0": 30}


@pytest.mark.parametrize("budget_s", [0.15, 0.5, 7.0, 33.0])
def test_no_lap_begins_after_the_budget(budget_s: float) -> None:
    played = Play(["a", "b", "c"], family=Needs(10**6), budget_s=budget_s, most=2).run()
    assert min(budget_s, budget_s - 0.25 * 6) <= played.sampling.spent_s <= budget_s + 0.2 + 1e-9
    reloads = sum(paired.loads - 1 for paired in played.paired_runs)
    assert played.sampling.spent_s == pytest.approx(0.1 * len(played.turns) + 2 * reloads)


def test_the_budget_ends_amid_a_round_of_many_units() -> None:
    played = Play(list("abcdefgh"), family=Needs(10**6), budget_s=0.5, most=8).run()
    assert len(played.turns) == 6, "three laps of 0.2 s, and not one of each cell"


def test_the_budget_is_shared_by_batches_and_what_stays_open_is_loaded_anew() -> None:
    played = Play(list("abcdef"), family=Needs(10**6), budget_s=60, most=2).run()
    laps = [len(kept) for kept in played.family.laps.values()]
    assert len(laps) == 6
    assert max(laps) < 2 * min(laps), "one batch ate the budget of the others"
    assert played.sampling.passes > 1
    started = played.stages["candidate"].started
    assert [probes for _, probes, _ in started[:6]] == [True] * 6
    assert len(started) > 6
    assert not any(probes for _, probes, _ in started[6:]), "probes run once"
    alive = Counter[str](label for label, *_ in started)
    assert min(alive.values()) > 1
    assert len(played.restarts) == 2 * (played.sampling.passes - 1), "new servers for every later pass"


def test_a_cell_that_dies_on_one_side_ends_alone() -> None:
    def dies(name: Role, label: str, number: int) -> list[float] | None:
        return None if (name, label, number) == ("candidate", "b", 4) else steady(name, label, number)

    played = Play(["a", "b", "c"], play=dies).run()
    assert {key: len(kept) for key, kept in played.family.laps.items()} == {"a 0": 10, "b 0": 4, "c 0": 10}
    dead = next(paired for paired in played.paired_runs if paired.words == "b")
    assert dead.statuses() == {"baseline": "ok", "candidate": "failed"}
    assert dead.records["candidate"].reason == "the worker was killed by SIGSEGV in phase quantize"
    assert {tuple(paired.statuses().values()) for paired in played.paired_runs if paired is not dead} == {
        ("ok", "ok")
    }


def test_a_cell_that_fails_while_it_loads_takes_no_lap() -> None:
    error = {
        "type": "ValueError",
        "message": "broken",
        "traceback": "",
        "status": "failed",
        "peak_rss_bytes": 1,
    }
    played = Play(["a", "b"])
    played.stages["baseline"].errors = {"b": error}
    played.run()
    assert set(played.family.laps) == {"a 0"}
    assert next(d for d in played.paired_runs if d.words == "b").statuses() == {
        "baseline": "failed",
        "candidate": "ok",
    }


def test_a_cell_that_dies_in_a_later_load_failed() -> None:
    seen: Counter[str] = Counter()

    def dies(name: Role, label: str, number: int) -> list[float] | None:
        seen[name] += number == 0
        return None if seen["candidate"] == 2 and name == "candidate" else steady(name, label, number)

    (paired,) = Play(["a"], play=dies, family=Needs(10**6), budget_s=20).run().paired_runs
    assert paired.loads == 2
    assert paired.statuses() == {"baseline": "ok", "candidate": "failed"}


def test_records_hold_the_rounds_of_all_loads() -> None:
    played = Play(["a"], family=Needs(10**6), budget_s=20).run()
    (paired,) = played.paired_runs
    assert paired.loads > 1
    places = [paired.final(name).samples["latency"]["runs"][0]["place"] for name in ROLES]  # type: ignore[union-attr]
    assert {first + second for first, second in zip(*places, strict=True)} == {1}
    for name in ROLES:
        record = paired.final(name)
        assert record is not None
        (run,) = record.samples["latency"]["runs"]
        assert run["prompt_length"] == 8
        assert len(run["prefill_s"]) == len(run["decode_s"]) == len(played.family.laps["a 0"])
        assert run["lap"] == list(range(len(run["lap"])))
        assert set(run["load"]) == set(range(1, paired.loads + 1))
        assert record.samples["perplexity"] == {"of": name}, "of the first load"


@pytest.mark.parametrize(
    ("seconds", "true"),
    [([0.1, 0.2], True), ([0.1, 0.95], False), ([0.1, -0.1], False), ([0.1, math.nan], False), ([], False)],
)
def test_believable(seconds: list[float], true: bool) -> None:
    assert believable(seconds, slot_s=1.0) is true


def test_quantizing_is_sampled_where_enough_laps_can_be_had() -> None:
    rich = Play(["a"], budget_s=1000, quantizes=True).run()
    assert len(rich.family.laps["a quantize"]) == 10
    assert rich.family.laps["a quantize"][0] == ({"quantize_s": 0.2}, {"quantize_s": 0.2})
    assert rich.paired_runs[0].closed == {}
    poor = Play(["a"], budget_s=0.2 * WORTH_BLOCKS * 2, quantizes=True).run()
    assert {key: len(laps) for key, laps in poor.family.laps.items()} == {"a 0": 10, "a quantize": 10}
    last = [errand for *_, errand in poor.turns][-18:]
    assert set(last) == {"quantize"}, "after one lap of it the rounds come first"


def test_a_pair_that_finds_no_memory_beside_others_is_measured_in_the_next_batch() -> None:
    played = Play(list("abc"), settings={"most_in_memory": 4}).run()
    assert {key: len(kept) for key, kept in played.family.laps.items()} == dict.fromkeys(
        ("a 0", "b 0", "c 0"), 10
    )
    assert all(set(paired.statuses().values()) == {"ok"} for paired in played.paired_runs)
    assert all(paired.apart is None for paired in played.paired_runs)


def test_two_sides_that_do_not_fit_together_are_measured_apart_and_not_timed() -> None:
    played = Play(["a"], settings={"most_in_memory": 1}).run()
    (paired,) = played.paired_runs
    assert paired.statuses() == {"baseline": "ok", "candidate": "ok"}
    assert paired.apart is not None
    assert "do not fit in memory together" in paired.apart
    assert played.family.laps == {}
    assert played.turns == []


def test_the_real_family_decides_a_slowdown_and_an_equal_pair_within_the_budget() -> None:
    names = ("prefill_s", "decode_s_per_token")
    verdicts, loads = {}, {}
    for factor in (1.0, 1.05):
        family = TimedComparisons(
            {"a 0": {name: THRESHOLDS[name] for name in names}}, {"a 0": "a"}, confirm=True
        )
        played = Play(["a"], play=noisy(factor), family=family, budget_s=120).run()  # type: ignore[arg-type]
        verdicts[factor] = {one.metric: one.verdict for one in family.findings()}
        loads[factor] = played.paired_runs[0].loads
    assert verdicts[1.0] == {"prefill_s": "same", "decode_s_per_token": "same"}
    assert verdicts[1.05] == {"prefill_s": "same", "decode_s_per_token": "worse"}
    assert loads[1.0] <= 3
    assert loads[1.05] > 5, "what looks worse is loaded again and again"


def test_the_luck_of_one_load_is_no_regression() -> None:
    loads: Counter[str] = Counter()

    def lucky(name: Role, label: str, number: int) -> list[float]:
        loads[name] += number == 0
        slow = 1.06 if name == "candidate" and loads[name] == 1 else 1.0
        return [0.02 * slow, 0.01 * slow, 0.01 * slow]

    family = TimedComparisons({"a 0": {"decode_s_per_token": 1.03}}, {"a 0": "a"}, confirm=True)
    played = Play(["a"], play=lucky, family=family, budget_s=120).run()  # type: ignore[arg-type]
    assert [one.verdict for one in family.findings()] == ["same"]
    assert played.paired_runs[0].loads > 2
