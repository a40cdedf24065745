"""The answer in one sentence per model, computed from the rows; ties are named as ties.

Two methods tie where the intervals of their perplexity ratio overlap. That errs on the side of a tie: a
paired test between the two would tell more of them apart.
"""

from __future__ import annotations

from typing import Any

from qbench.report.cells import LONGEST_REASON, cut, reason_of
from qbench.report.digits import scale_for, significant, with_interval
from qbench.report.names import name_of

__all__ = ["answer", "name_of"]

Row = dict[str, Any]
BUDGETS = (4.5, 8.5, 16.5)
"""Bits per weight; the sentence speaks of the tightest that any quantized cell keeps."""
_NAMED_TIES = 3
GLUE = "\u00a0"
"""A space at which no line breaks."""


def answer(rows: list[Row]) -> str:
    """One sentence about cells of the same model, dtype, device and protocol; `rows` must not be empty."""
    finished = [row for row in rows if row["status"] == "ok"]
    if not finished:
        return _none_finished(rows)
    quantized = [row for row in finished if row["method"] != "none" and row["bits_per_weight"] is not None]
    if not quantized:
        return _only_base(finished)
    budget = next(
        (bits for bits in BUDGETS if any(row["bits_per_weight"] <= bits for row in quantized)), None
    )
    within = [row for row in quantized if budget is None or row["bits_per_weight"] <= budget]
    where = f"At ≤ {budget} bits per weight, " if budget else "Of the quantized cells, "
    related = [row for row in within if row["perplexity_ratio"] is not None]
    if related:
        return where + _least_loss(related)
    return where + _without_ratio(within)


def _least_loss(rows: list[Row]) -> str:
    best = min(rows, key=lambda row: row["perplexity_ratio"])
    ties = [row for row in rows if _method(row) != _method(best) and _overlap(row, best)]
    unsure = [row for row in rows if row["perplexity_ratio_low"] is None]
    facts = [f"perplexity {_spread(best, 'perplexity_ratio', 4)}{GLUE}×{GLUE}base"]
    facts += [
        f"{_factor(best, name)}{GLUE}×{GLUE}{noun}"
        for name, noun in (("weight_bytes_ratio", "weight memory"), ("decode_speedup", "decode speed"))
        if best[name] is not None
    ]
    if len(set(map(_method, rows))) == 1:
        return f"{name_of(best)} is the one measured: {', '.join(facts)}."
    if unsure:  # of unknown spread: no method can be told from another
        return f"{name_of(best)} measured lowest: {', '.join(facts)}. {_no_interval(unsure, rows)}"
    verb = "ties for the least loss" if ties else "loses least"
    return f"{name_of(best)} {verb}: {', '.join(facts)}{_ties(ties)}."


def _method(row: Row) -> tuple[Any, ...]:
    """What repetitions of a cell share, and no other."""
    return row["method"], row["label"], row["params"]


def _no_interval(unsure: list[Row], rows: list[Row]) -> str:
    """Why nobody wins."""
    which = "" if len(unsure) == len(rows) else f"{name_of(unsure[0])} has "
    reason = reason_of(unsure[0], "perplexity_ratio_low")
    return f"{which or 'There is '}no interval to judge by: {reason}."


def _factor(row: Row, name: str) -> str:
    """With its interval where it has one."""
    return significant(row[name], 2) if row.get(f"{name}_low") is None else _spread(row, name, 2)


def _spread(row: Row, name: str, digits: int) -> str:
    """Value and interval on one line."""
    texts = with_interval(row[name], _low(row, name), _high(row, name), digits)
    return " ".join(filter(None, texts)).replace(" ", GLUE)


def _ties(ties: list[Row]) -> str:
    """The nearest by name; repetitions of a cell are one."""
    if not ties:
        return ""
    ordered = sorted(ties, key=lambda row: row["perplexity_ratio"])
    names = list(dict.fromkeys(map(name_of, ordered)))
    more = f" and {len(names) - _NAMED_TIES} more" if len(names) > _NAMED_TIES else ""
    return f". Tied with {', '.join(names[:_NAMED_TIES])}{more}"


def _without_ratio(rows: list[Row]) -> str:
    scored = [row for row in rows if row["perplexity"] is not None]
    if not scored:
        fewest = min(rows, key=lambda row: row["bits_per_weight"])
        bits = significant(fewest["bits_per_weight"], 3)
        return f"{name_of(fewest)} stores least, {bits} bits per weight; quality was not measured."
    best = min(scored, key=lambda row: row["perplexity"])
    value = _spread(best, "perplexity", 4)
    return f"{name_of(best)} has the lowest perplexity, {value}; there is no base to relate it to."


def _only_base(rows: list[Row]) -> str:
    best = rows[0]
    facts = [f"perplexity {_spread(best, 'perplexity', 4)}"] if best["perplexity"] is not None else []
    if best["weight_bytes"] is not None:
        scale = scale_for([best["weight_bytes"]], "B")
        facts.append(f"{significant(best['weight_bytes'] / scale.factor, 3)} {scale.unit} of weights")
    return f"Only the unquantized model finished{': ' if facts else ''}{', '.join(facts)}."


def _overlap(one: Row, other: Row) -> bool:
    name = "perplexity_ratio"
    return bool(_low(one, name) <= _high(other, name) and _low(other, name) <= _high(one, name))


def _low(row: Row, name: str) -> float:
    return float(row[name] if row[f"{name}_low"] is None else row[f"{name}_low"])


def _high(row: Row, name: str) -> float:
    return float(row[name] if row[f"{name}_high"] is None else row[f"{name}_high"])


def _none_finished(rows: list[Row]) -> str:
    first = rows[0]
    said = cut(first["reason"] or "no reason was recorded", LONGEST_REASON)
    reason = f"{name_of(first)}, {first['status']}: {said}"
    if len(rows) == 1:
        return f"No number yet: the one cell did not finish. Its reason: {reason}"
    return f"No number yet: none of the {len(rows)} cells finished. First reason: {reason}"
