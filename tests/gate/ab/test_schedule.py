"""Which pairs a later pass loads."""

from __future__ import annotations

from typing import Any, cast

from qbench.gate.ab.paired_run import PairedRun
from qbench.gate.ab.schedule import FAIR, NEAR, SURE, Schedule


def _duels(*loads: int) -> list[PairedRun]:
    return [PairedRun(cast(Any, None), str(n), str(n), [], loads=count) for n, count in enumerate(loads)]


def test_what_stands_out_is_loaded_alone() -> None:
    a, b, c = _duels(1, 1, 1)
    schedule = Schedule(most=8)
    assert schedule.choose({a: -1.0, b: SURE, c: SURE - 1.1 * NEAR}) == [b]
    assert schedule.choose({a: -1.0, b: SURE, c: SURE - 0.9 * NEAR}) == [b, c]
    assert schedule.choose({}) == []


def test_a_part_of_the_time_goes_to_what_had_the_fewest_loads() -> None:
    hard, often, seldom = _duels(9, 5, 2)
    urgency = {hard: SURE / 2, often: -1.0, seldom: -3.0}
    schedule, spent = Schedule(most=1), {hard: 0.0, often: 0.0, seldom: 0.0}
    schedule.ended(100.0)  # the first pass, which loads all
    for _ in range(400):
        (chosen,) = schedule.choose(urgency)
        spent[chosen] += 3.0
        chosen.loads += 1
        schedule.ended(3.0)
    assert spent[hard] == 1200 - spent[often] - spent[seldom]
    assert abs((spent[often] + spent[seldom]) / 1200 - FAIR) < 0.02
    assert abs(often.loads - seldom.loads) <= 1
