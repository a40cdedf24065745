"""The analyses of docs/examples, run as a reader would, against the same answers from the raw JSON by hand.

They run on the committed example.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "results" / "examples"
Groups = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def groups() -> Groups:
    """Cells that were scored, with ratios to their base, by the heading that the scripts print."""
    found: Groups = defaultdict(list)
    for suite in filter(Path.is_dir, COMMITTED.iterdir()):
        run = max(path for path in suite.iterdir() if path.is_dir())
        for path in run.glob("*.json"):
            data = json.loads(path.read_text())
            if (
                path.name == "manifest.json"
                or data["status"] != "ok"
                or not data["samples"].get("perplexity")
            ):
                continue
            cell = data["cell"]
            where = (
                data["suite"],
                cell["model"]["name"],
                cell["dtype"],
                cell["device"],
                cell.get("runtime", "eager"),
            )
            found[" · ".join(where)].append(data)
    for members in found.values():
        (base,) = [
            one for one in members if one["cell"]["method"] == "none" and not one["cell"]["repetition"]
        ]
        for one in members:
            pairs = zip(
                one["samples"]["perplexity"]["nll"], base["samples"]["perplexity"]["nll"], strict=True
            )
            one["log_ratio"] = math.fsum(b - a for b, a in pairs) / sum(
                one["samples"]["perplexity"]["tokens"]
            )
            bytes_ = [data["samples"]["memory"]["weight_bytes"] for data in (one, base)]
            one["bytes"] = bytes_[0] / bytes_[1]
    return found


def printed(name: str, results: Path, *words: str) -> dict[str, list[str]]:
    """Heading → the lines below it."""
    script = ROOT / "docs" / "examples" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(results), *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {}
    for block in done.stdout.strip().split("\n\n"):
        heading, *lines = block.splitlines()
        found[heading] = [line.strip() for line in lines]
    return found


def numbers(text: str) -> list[float]:
    return [float(one) for one in re.findall(r"[-+]?\d+\.\d+", text)]


def test_the_front_and_the_best_within_a_budget(groups: Groups) -> None:
    for share in (0.5, 0.01):
        found = printed("pareto", COMMITTED, str(share))
        assert set(found) == set(groups)
        for heading, members in groups.items():
            points = [(one["bytes"], math.exp(one["log_ratio"])) for one in members]
            front = {
                point
                for point in points
                if not any(
                    other[0] <= point[0] and other[1] <= point[1] and other != point for other in points
                )
            }
            lines = [line for line in found[heading] if line.startswith("front: ")]
            shown = {tuple(numbers(line)[-2:]) for line in lines}
            assert shown == {(round(size, 4), round(loss, 6)) for size, loss in front}
            fits = [one for one in members if one["bytes"] <= share]
            last = found[heading][-1]
            if not fits:
                assert last == f"nothing fits into {share} × bytes"
                continue
            best = min(fits, key=lambda one: one["log_ratio"])
            assert f": {best['cell']['label']}, {math.exp(best['log_ratio']):.6f} × perplexity" in last


def _largest_full_block(table: dict[tuple[str, int], float]) -> tuple[list[str], list[int]]:
    """Methods and bits of which every pair is there; of blocks of one size the one with fewest bits."""
    every = sorted({bits for _, bits in table})
    best: tuple[list[str], list[int]] = ([], [])
    for count in range(2, len(every) + 1):
        for chosen in itertools.combinations(every, count):
            names = [
                name
                for name in sorted({name for name, _ in table})
                if all((name, bits) in table for bits in chosen)
            ]
            if len(names) > 1 and len(names) * count > len(best[0]) * len(best[1]):
                best = (names, list(chosen))
    return best


def test_the_interaction_of_method_and_bits(groups: Groups) -> None:
    """Against least squares on dummies for method and bits: its residuals are the interaction."""
    found = printed("interaction", COMMITTED)
    checked = 0
    for heading, lines in found.items():
        table: dict[tuple[str, int], float] = {}
        for one in groups[heading]:
            if (bits := one["cell"]["params"].get("num_bits")) is not None:
                place = (one["cell"]["method"], bits)
                table[place] = min(one["log_ratio"], table.get(place, math.inf))
        methods, columns = _largest_full_block(table)
        if len(methods) < 2 or len(columns) < 2:
            assert lines == ["too few methods share two numbers of bits"]
            continue
        places = list(itertools.product(methods, columns))
        design = np.array(
            [[1, *(name == m for m in methods), *(bits == b for b in columns)] for name, bits in places],
            float,
        )
        losses = np.array([table[place] for place in places])
        residuals = losses - design @ np.linalg.lstsq(design, losses, rcond=None)[0]
        shown = [numbers(line) for line in lines[:-1]]
        assert [line.split(" bits:")[0] for line in lines[:-1]] == [f"{name} {bits}" for name, bits in places]
        np.testing.assert_allclose([one[0] for one in shown], losses, atol=1e-8)
        np.testing.assert_allclose([one[1] for one in shown], residuals, atol=2e-8)
        best = [min(methods, key=lambda name, bits=bits: table[name, bits]) for bits in columns]  # type: ignore[misc]
        assert re.findall(r"(\w+) at", lines[-1]) == best
        checked += 1
    assert checked


def test_paired_differences_between_two_methods(groups: Groups) -> None:
    """The ratio by hand, and its interval against one of other draws and of a plain loop."""
    found = printed("paired", COMMITTED)
    assert set(found) == set(groups)
    checked = 0
    for heading, members in groups.items():
        quantized = sorted(
            (one for one in members if one["cell"]["method"] != "none" and not one["cell"]["repetition"]),
            key=lambda one: sum(one["samples"]["perplexity"]["nll"]),
        )
        if len(quantized) < 2:
            assert found[heading] == ["fewer than two of these cells were scored"]
            continue
        checked += 1
        first, second = (one["samples"]["perplexity"] for one in quantized[:2])
        gaps = [b - a for a, b in zip(first["nll"], second["nll"], strict=True)]
        labels = [one["cell"]["label"] for one in quantized[:2]]
        line, verdict = found[heading]
        assert line.startswith(f"{labels[1]} over {labels[0]}: ")
        ratio, low, high = numbers(line.rpartition(": ")[2])
        assert ratio == pytest.approx(math.exp(math.fsum(gaps) / sum(first["tokens"])), abs=1e-6)
        ends = by_hand(gaps, first["tokens"])
        width = math.log(high / low)
        assert [math.log(low), math.log(high)] == pytest.approx(ends, abs=0.1 * width)
        assert verdict.startswith(f"{sum(gap > 0 for gap in gaps)} of {len(gaps)} windows")
        assert ("cannot be told apart" in verdict) is (low <= 1 <= high)
    assert checked


def by_hand(gaps: list[float], tokens: list[int], draws: int = 3000) -> list[float]:
    count, length = len(gaps), max(1, round(len(gaps) ** 0.39))
    generator = np.random.default_rng(7)
    drawn = []
    for _ in range(draws):
        places: list[int] = []
        while len(places) < count:
            start = int(generator.integers(count))
            places += [(start + step) % count for step in range(length)]
        places = places[:count]
        drawn.append(sum(gaps[place] for place in places) / sum(tokens[place] for place in places))
    drawn.sort()
    return [drawn[int(0.025 * draws)], drawn[int(0.975 * draws)]]


def test_the_labels_may_be_named_and_unknown_ones_are_said(groups: Groups) -> None:
    members = next(iter(groups.values()))
    labels = [one["cell"]["label"] for one in members if one["cell"]["method"] != "none"][:2]
    found = printed("paired", COMMITTED, *labels)
    assert any(lines[0].startswith(f"{labels[1]} over {labels[0]}: ") for lines in found.values())
    nobody = printed("paired", COMMITTED, "nobody", labels[0])
    assert {lines[0] for lines in nobody.values()} == {"fewer than two of these cells were scored"}
