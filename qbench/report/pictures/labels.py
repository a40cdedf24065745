"""Labels short enough to stand beside a bar: without what all cells of their method share."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

_SHORTER = (
    (re.compile(r"^num_bits=(\d+)$"), r"\1 bit"),
    (re.compile(r"^group_size=(\d+)$"), r"g\1"),
    (re.compile(r"^activations=none$"), ""),
    (re.compile(r"^(?:strategy|activations|range|scale_range)=(\S+)$"), r"\1"),
)


def short_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Label → a shorter one that still tells it from all others; `labels` maps each to its method.

    `gptq num_bits=4 strategy=group group_size=64` becomes `gptq 4 bit` where every gptq has that strategy and
    size. Where a short one would not be the only one of its kind, the label stays.
    """
    by_method: dict[str, list[str]] = defaultdict(list)
    for label, method in labels.items():
        by_method[method].append(label)
    short = {label: _short(label, by_method[method]) for label, method in labels.items()}
    count = Counter(short.values())
    return {label: found if count[found] == 1 else label for label, found in short.items()}


def _short(label: str, siblings: list[str]) -> str:
    if not label.split():
        return label
    first, *rest = label.split()
    shared = set.intersection(*(set(sibling.split()[1:]) for sibling in siblings))
    alone = len(siblings) == 1
    kept = [word for word in rest if alone or word not in shared or word.startswith("num_bits=")]
    return " ".join(filter(None, [first, *map(_shorter, kept)]))


def _shorter(word: str) -> str:
    for pattern, replacement in _SHORTER:
        word = pattern.sub(replacement, word)
    return word
