"""The answer in one sentence per model, computed from the rows; ties are named as ties.

Two methods tie where the intervals of their perplexity ratio (without a base, of their perplexity) overlap.
That errs on the side of a tie: a paired test between the two would tell more of them apart.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from qbench.report.view.cells import LONGEST_REASON, cut, reason_of
from qbench.report.view.digits import scale_for, significant, spread_text
from qbench.report.view.names import name_of
from qbench.results.columns.column import Row
from qbench.results.compare.comparison import ENDED

BUDGETS = (4.5, 8.5, 16.5)
"""Bits per weight; the sentence speaks of the tightest that any quantized cell keeps."""
_VERBS = {
    "perplexity_ratio": ("loses least", "ties for the least loss"),
    "perplexity": ("measured lowest", "ties for the lowest"),
}
"""Metric that methods are compared by, the first that any cell has → verb of the best alone, and of a tie."""
_NAMED = 3
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
    name = next((one for one in _VERBS if any(row[one] is not None for row in quantized)), None)
    compared = [row for row in quantized if name is None or row[name] is not None]
    budget = next((bits for bits in BUDGETS if any(row["bits_per_weight"] <= bits for row in compared)), None)
    where = f"At ≤ {budget} bits per weight, " if budget else "Of the quantized cells, "
    within = [row for row in quantized if budget is None or row["bits_per_weight"] <= budget]
    if name is None:
        return where + _stores_least(within)
    facts = _facts if name == "perplexity_ratio" else functools.partial(_alone, rows=rows)
    return where + _least_loss(within, name, facts) + _diverged(within)


def _least_loss(within: list[Row], name: str, facts: Callable[[Row], str]) -> str:
    """Sentence on the cell with the lowest number, with `facts` about it, which end without a full stop."""
    rows = [row for row in within if row[name] is not None]
    best = min(rows, key=lambda row: row[name])
    ties = [row for row in rows if _method(row) != _method(best) and _overlap(row, best, name)]
    unsure = [row for row in rows if row[f"{name}_low"] is None]
    if len(set(map(_method, within))) == 1:
        return f"{name_of(best)} is the one measured: {facts(best)}."
    if len(set(map(_method, rows))) == 1:
        return f"{name_of(best)} is the only one with a perplexity to compare: {facts(best)}."
    if unsure:  # of unknown spread: no method can be told from another
        return f"{name_of(best)} measured lowest: {facts(best)}. {_no_interval(unsure, rows, name)}"
    return f"{name_of(best)} {_VERBS[name][bool(ties)]}: {facts(best)}{_ties(ties, name)}."


def _facts(best: Row) -> str:
    """Costs and savings of a cell beside its base."""
    facts = [f"perplexity {_spread(best, 'perplexity_ratio', 4)}{GLUE}×{GLUE}base"]
    facts += [
        f"{_factor(best, name)}{GLUE}×{GLUE}{noun}"
        for name, noun in (("weight_bytes_ratio", "weight memory"), ("decode_speedup", "decode speed"))
        if best[name] is not None
    ]
    return ", ".join(facts)


def _alone(best: Row, rows: list[Row]) -> str:
    """Its perplexity, and why that relates to no base."""
    return f"perplexity {_spread(best, 'perplexity', 4)}; {_without_base(best, rows)}"


def _without_base(best: Row, rows: list[Row]) -> str:
    if best["base_cell_id"] is not None:
        return reason_of(best, "perplexity_ratio")
    ended = [row["status"] for row in rows if row["method"] == "none" and row["status"] != "ok"]
    return (
        f"the base {ENDED.get(ended[0], f'was {ended[0]}')}" if ended else "there is no base to relate it to"
    )


def _diverged(rows: list[Row]) -> str:
    """Names those that were scored and have no number; they are no part of what was compared."""
    names = list(dict.fromkeys(name_of(row) for row in rows if _scored(row) and row["perplexity"] is None))
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f" {', '.join(names[:_NAMED])}{more} {'has' if len(names) == 1 else 'have'} no finite perplexity."


def _scored(row: Row) -> bool:
    return row["perplexity_protocol"] is not None


def _method(row: Row) -> tuple[Any, ...]:
    """Identity that repetitions of a cell share, and no other cell."""
    return row["method"], row["label"], row["params"]


def _no_interval(unsure: list[Row], rows: list[Row], name: str) -> str:
    """Reason that no method is named the best."""
    which = "" if len(unsure) == len(rows) else f"{name_of(unsure[0])} has "
    reason = reason_of(unsure[0], f"{name}_low")
    return f"{which or 'There is '}no interval to judge by: {reason}."


def _factor(row: Row, name: str) -> str:
    """With its interval where it has one."""
    return significant(row[name], 2) if row.get(f"{name}_low") is None else _spread(row, name, 2)


def _spread(row: Row, name: str, digits: int) -> str:
    """Value and interval on one line."""
    return spread_text(row[name], _low(row, name), _high(row, name), digits).replace(" ", GLUE)


def _ties(ties: list[Row], name: str) -> str:
    """The nearest by name; repetitions of a cell are one."""
    if not ties:
        return ""
    ordered = sorted(ties, key=lambda row: row[name])
    names = list(dict.fromkeys(map(name_of, ordered)))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f". Tied with {', '.join(names[:_NAMED])}{more}"


def _stores_least(rows: list[Row]) -> str:
    fewest = min(rows, key=lambda row: row["bits_per_weight"])
    bits = significant(fewest["bits_per_weight"], 3)
    why = "no finite perplexity was measured" if any(map(_scored, rows)) else "quality was not measured"
    return f"{name_of(fewest)} stores least, {bits} bits per weight; {why}."


def _only_base(rows: list[Row]) -> str:
    best = rows[0]
    facts = [f"perplexity {_spread(best, 'perplexity', 4)}"] if best["perplexity"] is not None else []
    if best["weight_bytes"] is not None:
        scale = scale_for([best["weight_bytes"]], "B")
        facts.append(f"{significant(best['weight_bytes'] / scale.factor, 3)} {scale.unit} of weights")
    return f"Only the unquantized model finished{': ' if facts else ''}{', '.join(facts)}."


def _overlap(one: Row, other: Row, name: str) -> bool:
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
