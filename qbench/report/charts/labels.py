"""Short labels for axes: without the words that all cells of a method share."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

_BITS = re.compile(r"\d+-bit")


def short_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Maps each label to a shorter one that is still unique; `labels` maps each to its method.

    `gptq 4-bit g64` becomes `gptq 4-bit` where every gptq has groups of 64. Where a short one would not be
    the only one of its kind, the label stays.
    """
    by_method: dict[str, list[str]] = defaultdict(list)
    for label, method in labels.items():
        by_method[method].append(label)
    short = {label: _short(label, by_method[method]) for label, method in labels.items()}
    count = Counter(short.values())
    return {label: found if count[found] == 1 else label for label, found in short.items()}


def _short(label: str, siblings: list[str]) -> str:
    if len(siblings) == 1 or not label.split():
        return label
    first, *rest = label.split()
    shared = set.intersection(*(set(sibling.split()[1:]) for sibling in siblings))
    return " ".join([first, *(word for word in rest if word not in shared or _BITS.fullmatch(word))])
