"""Changes of quality, paired by window: against sums by hand, and against the bootstrap of them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qbench.results.compare.compare import compare
from qbench.results.compare.paired import Paired, paired
from qbench.results.stats.bootstrap import intervals
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS
from tests.results import factory

SCORED = [511, 300, 511, 127, 511, 480, 511, 64]
"""Unequal on purpose: a mean of means would be another number."""
KL = [90.0, 60.0, 101.0, 22.0, 85.0, 97.0, 88.0, 11.0]
AGREE = [470, 270, 466, 110, 480, 433, 474, 60]


def quality(
    kl: list[float] | None = None, agree: list[int] | None = None, scored: list[int] | None = None,
    nll: list[float] | None = None, **more: Any,
) -> Record:  # fmt: skip
    """A cell with divergence by window."""
    quantiles = dict.fromkeys(("0.5", "0.9", "0.95", "0.99", "0.999"), 1e-3)
    apart = {"scored": scored or SCORED, "kl": kl or KL, "agree": agree or AGREE,
             "delta_p_squared": [0.1] * len(SCORED), "kl_quantiles": quantiles, "kl_max": 2.0}  # fmt: skip
    sample = factory.perplexity(nll, divergence=apart, **more)
    return factory.record("gptq", samples=factory.samples(perplexity=sample))


def test_kl_and_agreement_are_differences_of_sums_with_their_bootstrap() -> None:
    gap = np.array([4.0, 1.0, 6.0, -0.5, 3.0, 5.0, 2.0, 0.3])
    lost = np.array([9, 3, 7, 0, 12, -2, 5, 1])
    a = quality()
    b = quality(kl=[*(np.array(KL) + gap)], agree=[*(np.array(AGREE) - lost)])
    found = paired(a, b)
    tokens = np.array(SCORED, dtype=np.float64)
    for name, change, kind in (("kl_divergence", gap, "own"), ("top1_agreement", -lost, "difference")):
        one = found[name]
        assert one.by == "difference"
        assert one.value == pytest.approx(change.sum() / sum(SCORED), rel=1e-9)
        values = [METRICS[name].value(record) for record in (a, b)]
        assert values[0] is not None
        assert values[1] is not None
        assert one.value == pytest.approx(values[1] - values[0], rel=1e-9)
        ends = [end[0] for end in intervals(change[None].astype(float), tokens, kind)]  # type: ignore[arg-type]
        assert (one.low, one.high) == (pytest.approx(ends[1]), pytest.approx(ends[2]))
    back = paired(b, a)["kl_divergence"]
    assert (back.value, back.low) == (
        -found["kl_divergence"].value,
        pytest.approx(-high(found)),
    )


def high(found: dict[str, Paired]) -> float:
    end = found["kl_divergence"].high
    assert end is not None
    return end


def test_pairing_takes_out_what_both_sides_share() -> None:
    """Windows are hard or easy for both: an even change is certain, however much KL itself varies."""
    one = paired(quality(), quality(kl=[kl + tokens * 0.01 for kl, tokens in zip(KL, SCORED, strict=True)]))
    change = one["kl_divergence"]
    assert change.value == pytest.approx(0.01)
    assert (change.low, change.high) == (pytest.approx(0.01), pytest.approx(0.01))


def test_all_that_is_made_of_the_loss_has_the_same_interval_by_its_unit() -> None:
    later = [nll + gap for nll, gap in zip(factory.LOSSES, (3, 9, -1, 5, 4, 7, 2, 6), strict=True)]
    a, b = quality(words=3000, bytes=15_000), quality(nll=later, words=3000, bytes=15_000)
    found = paired(a, b)
    per_byte = factory.TOKENS * factory.WINDOWS / 15_000
    for name, one in found.items():
        before, now = (METRICS[name].value(record) for record in (a, b))
        assert before is not None
        assert now is not None
        assert one.value == pytest.approx(now / before if one.by == "ratio" else now - before, abs=1e-12)
    whole, part, bits = (found[name] for name in ("perplexity", "byte_perplexity", "bits_per_byte"))
    assert whole.low is not None
    assert whole.low > 1
    assert part.low == pytest.approx(whole.low**per_byte)
    assert bits.low == pytest.approx(math.log2(whole.low) * per_byte)
    assert {name for name, one in found.items() if one.by == "ratio"} == {
        "perplexity", "word_perplexity", "byte_perplexity",
    }  # fmt: skip


def test_equal_sides_change_by_nothing_with_certainty() -> None:
    found = paired(quality(), quality())
    assert {(one.value - one.none, one.low, one.high) for one in found.values()} == {
        (0.0, 1.0, 1.0), (0.0, 0.0, 0.0),
    }  # fmt: skip


def test_other_windows_are_not_paired() -> None:
    fewer = [511, 300, 511, 127, 511, 480, 511, 63]
    assert "kl_divergence" not in paired(quality(), quality(scored=fewer))
    assert "perplexity" in paired(quality(), quality(scored=fewer))
    assert paired(quality(), quality(seqlen=256)) == {}
    assert "byte_perplexity" not in paired(quality(bytes=100), quality(bytes=101))
    plain = factory.record("gptq")
    assert set(paired(plain, quality())) == {"perplexity", "nll_per_token"}


def test_one_window_has_no_ends_and_too_large_a_ratio_is_left_out() -> None:
    short = {"scored": [511], "kl": [2.0], "agree": [500], "kl_quantiles": {}, "kl_max": 1.0}
    record = quality()
    sample = {**factory.perplexity([1990.0]), "divergence": {**short, "delta_p_squared": [0.1]}}
    one = replace(record, samples={**record.samples, "perplexity": sample})
    assert all(change.low is change.high is None for change in paired(one, one).values())
    wild = paired(quality(), quality(nll=[nll + 511 * 800 for nll in factory.LOSSES]))
    assert "perplexity" not in wild
    assert wild["nll_per_token"].value == pytest.approx(800)


def test_the_json_holds_the_intervals() -> None:
    found = compare([quality()], [quality(kl=[3 * kl for kl in KL])])
    pair = json.loads(json.dumps(found.to_dict(), allow_nan=False))["pairs"][0]
    assert pair["paired"]["kl_divergence"]["by"] == "difference"
    assert pair["paired"]["kl_divergence"]["low"] > 0
