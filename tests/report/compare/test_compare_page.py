"""The comparison's page and its Markdown: what changed, by how much, and no more than the data say."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from qbench.cli.app import app
from qbench.report.compare.compare_page import markdown, render
from qbench.report.compare.compare_terminal import drawn
from qbench.report.compare.differences import build_comparison
from qbench.report.text.markdown_text import LIMIT
from qbench.report.view.digits import MINUS
from qbench.results.compare.compare import Source, compare_sources
from qbench.results.stats.bootstrap import intervals
from qbench.results.store.record import Record
from tests.report.leaderboard.test_html import Reader
from tests.report.text.test_markdown import HOSTILE
from tests.results import factory
from tests.results.many import many

RECORDS = (factory.record(), factory.record("absmax"), factory.record("int4"))


def source(*records: Record, folder: str = "a", **facts: str) -> Source:
    return Source(Path(folder), ("quickstart/now",), records, facts)


def changed(record: Record, probe: str, **values: Any) -> Record:
    return replace(record, samples={**record.samples, probe: {**record.samples[probe], **values}})


def scored(record: Record, nll: list[float]) -> Record:
    return changed(record, "perplexity", nll=nll)


def view_of(a: Source, b: Source) -> Any:
    return build_comparison(compare_sources(a, b), a, b)


def test_equal_sides_say_so_and_show_no_change() -> None:
    view = view_of(source(*RECORDS), source(*RECORDS))
    assert view.alike
    assert view.differences == []
    assert len(view.equal) == 3
    text = Reader(
        render(compare_sources(source(*RECORDS), source(*RECORDS)), source(*RECORDS), source(*RECORDS))
    ).text
    assert "Identical bit for bit: 3 of 3 cells." in text
    assert "every deterministic number of the cells that both sides hold is the same" in text


@pytest.mark.parametrize(
    ("shift", "wobble", "verdict"),
    [
        (0.01, 0.5, "worse, beyond the interval"),
        (-0.01, 0.5, "better, beyond the interval"),
        (0.0001, 3.0, "differs, within the interval"),
    ],
)
def test_a_perplexity_has_the_paired_interval_of_its_ratio(shift: float, wobble: float, verdict: str) -> None:
    gaps = [511 * shift + wobble * (-1) ** place for place in range(factory.WINDOWS)]
    later = scored(RECORDS[1], [nll + gap for nll, gap in zip(factory.LOSSES, gaps, strict=True)])
    view = view_of(source(*RECORDS), source(RECORDS[0], later, RECORDS[2]))
    (line,) = [line for line in view.differences if line.metric == "perplexity"]
    assert line.verdict == verdict
    tokens = np.full(factory.WINDOWS, 511.0)
    ratio, low, high = (math.exp(end[0]) for end in intervals(np.asarray([gaps]), tokens, "difference"))
    shown, half = re.findall(r"[\d.]+", line.range)
    assert float(shown) == pytest.approx(ratio, abs=float(half))
    assert float(half) == pytest.approx((high - low) / 2, rel=0.1)
    assert (low > 1, high < 1) == (verdict.startswith("worse"), verdict.startswith("better"))


def test_two_numbers_that_differ_never_look_equal() -> None:
    for other in (11_600_001, 11_600_000 + 7_000):
        view = view_of(source(RECORDS[0]), source(changed(RECORDS[0], "memory", weight_bytes=other)))
        (line,) = [line for line in view.differences if line.metric == "weight_bytes"]
        assert line.a != line.b
        assert line.change.startswith("+")
        assert float(line.change.strip("+ %")) == pytest.approx(100 * (other / 11_600_000 - 1), rel=0.1)
    gone = view_of(source(RECORDS[0]), source(changed(RECORDS[0], "memory", weight_bytes=None)))
    assert [line.verdict for line in gone.differences if line.metric == "weight_bytes"] == ["B has none"]


def test_the_cell_that_changed_most_comes_first() -> None:
    little = changed(RECORDS[1], "memory", weight_bytes=11_600_001)
    much = changed(RECORDS[2], "memory", weight_bytes=23_200_000)
    view = view_of(source(*RECORDS), source(RECORDS[0], little, much))
    assert list(dict.fromkeys(line.method for line in view.differences)) == ["int4", "absmax"]
    assert view.equal == ["austen-6m none bf16 cpu"]


@pytest.mark.parametrize(
    ("seconds", "verdict", "apart"),
    [
        ([0.02, 0.03, 0.025], "every round of B slower", True),
        ([0.001, 0.002, 0.003], "every round of B faster", True),
        ([0.011, 0.02, 0.03], "rounds overlap", False),
    ],
)
def test_times_are_judged_by_their_rounds_alone(seconds: list[float], verdict: str, apart: bool) -> None:
    base = replace(RECORDS[0], samples=factory.samples(latency=factory.latency([0.010, 0.011, 0.012])))
    later = replace(RECORDS[0], samples=factory.samples(latency=factory.latency(seconds)))
    view = view_of(source(base), source(later))
    (line,) = [line for line in view.timed if line.metric == "prefill_s"]
    assert (line.verdict, line.changed) == (verdict, apart)
    assert (min(seconds) > 0.012 or max(seconds) < 0.010) is apart
    peak = next(line for line in view.timed if line.metric == "peak_memory_bytes")
    assert peak.verdict == "one number a side: no spread to judge by"
    page = render(compare_sources(source(base), source(later)), source(base), source(later))
    assert "did not take turns" in page
    assert "significant" not in page


def test_what_was_not_compared_and_how_the_machines_differ() -> None:
    a = source(*RECORDS, cpu="x", torch="2.13")
    b = source(RECORDS[0], factory.failed("int4"), factory.record("gptq"), cpu="x", torch="2.14", gpu="y")
    view = view_of(a, b)
    assert sorted(where for where, _ in view.lacking) == ["ok in A, failed in B", "only in A", "only in B"]
    assert [(fact.name, fact.a, fact.b) for fact in view.environment] == [
        ("gpu", "–", "y"), ("torch", "2.13", "2.14"), ("cpu", "x", "x"),
    ]  # fmt: skip
    page, text = render(compare_sources(a, b), a, b), markdown(compare_sources(a, b), a, b)
    for said in ("ok in A, failed in B", "ValueError: group_size 7", "2.14"):
        assert said in Reader(page).text
        assert said.replace("_", "") in text.replace("_", "")


def test_nothing_compared_is_a_page_that_says_so() -> None:
    for a, b in (((), ()), ((factory.failed(),), (factory.failed(),)), (RECORDS[:1], ())):
        sides = source(*a), source(*b)
        text = Reader(render(compare_sources(*sides), *sides)).text
        assert "nothing was compared" in text.lower()
        assert "Nothing could be compared." in text
        assert "nothing was compared" in markdown(compare_sources(*sides), *sides)


def test_hostile_texts_are_text() -> None:
    records = [
        factory.record("absmax", cell=factory.cell("absmax", label=text, seed=n))
        for n, text in enumerate(HOSTILE)
    ]
    others = [scored(record, [1.0] * factory.WINDOWS) for record in records]
    a = source(*records, folder="<b>a", fact="<script>alert(1)</script>")
    b = source(*others, factory.failed(reason="</script><img onerror=x>"), folder="b", fact="</details>")
    page = render(compare_sources(a, b), a, b)
    assert page.count("<script") == len(re.findall(r"<script>", page)) == 2  # the page's own two
    assert "<img" not in page
    assert "<b>a" not in page
    assert "default-src &#39;none&#39;" in page
    assert len(markdown(compare_sources(a, b), a, b)) <= LIMIT


def test_markdown_of_thousands_fits_a_comment() -> None:
    records = tuple(many(700, layers=0))
    others = tuple(
        changed(record, "memory", weight_bytes=1) if record.status == "ok" else record for record in records
    )
    sides = source(*records), source(*others)
    text = markdown(compare_sources(*sides), *sides)
    assert len(text) <= LIMIT
    assert "not shown**: a comment holds 65,536 characters" in text


def test_the_command_writes_the_page_and_prints_markdown(tmp_path: Path) -> None:
    factory.write_run(tmp_path / "a", list(RECORDS))
    folder = factory.write_run(tmp_path / "b", [changed(RECORDS[0], "memory", weight_bytes=7), *RECORDS[1:]])
    words = ["compare", str(tmp_path / "a"), str(tmp_path / "b")]
    target, data = tmp_path / "out.html", tmp_path / "out.json"
    done = CliRunner().invoke(
        app, [*words, "--html", str(target), "--json", str(data), "--format", "markdown"]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("### qbench: A and B compared\n")
    assert "| none | weight\\_bytes |" in done.stdout or "| none | weight_bytes |" in done.stdout
    said = "1 of 3 cells differs: none, weight bytes -100 %. The other 2 are identical bit for bit."
    assert said.replace("-", MINUS) in Reader(target.read_text()).text
    assert json.loads(data.read_text())["pairs"][0]["paired"]["perplexity"]["value"] == 1.0
    factory.write_run(tmp_path / "lost", [RECORDS[0], factory.failed("absmax"), factory.failed("int4")])
    lost = CliRunner().invoke(app, ["compare", str(tmp_path / "a"), str(tmp_path / "lost")])
    assert lost.exit_code == 0, "the help says so: both could be read"
    assert "did not end well on one side or both:" in lost.stdout
    (folder / "0123456789abcdef.json").write_text('{"schema"')
    broken = CliRunner().invoke(app, [*words, "--html", str(target)])
    assert "0123456789abcdef.json is no whole JSON file" in str(broken.exception)


LONG = factory.record("gptq", cell=factory.cell("gptq", label="gptq num_bits=4 strategy=group group_size=64"))


def worse(record: Record, by: float) -> Record:
    return scored(record, [nll + 511 * math.log(1 + by) for nll in factory.LOSSES])


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ((worse(LONG, 0.004), RECORDS[1], RECORDS[2]),
         "1 of 3 cells differs: gptq 4-bit g64, perplexity worse by 0.40 %. The other 2 are identical"),
        ((worse(LONG, 0.004), worse(RECORDS[1], -0.2), RECORDS[2]),  # worse stands before better
         "2 of 3 cells differ: gptq 4-bit g64, perplexity worse by 0.40 %; absmax, perplexity better by "
         "20 %. The other is identical"),
        ((changed(LONG, "memory", weight_bytes=None), RECORDS[1], RECORDS[2]),
         "1 of 3 cells differs: gptq 4-bit g64, weight bytes: B has none."),
        ((LONG, RECORDS[1], RECORDS[2]), "Identical bit for bit: 3 of 3 cells."),
    ],
)  # fmt: skip
def test_the_first_sentence_says_what_differs(later: tuple[Record, ...], said: str) -> None:
    sides = source(LONG, *RECORDS[1:]), source(*later)
    found = compare_sources(*sides)
    page = Reader(render(found, *sides)).text
    assert said in page
    assert said in markdown(found, *sides).replace("\\", "")
    out = io.StringIO()
    Console(file=out, width=300).print(drawn(found))
    assert said in out.getvalue()
    assert "num_bits" not in page + out.getvalue()


def test_what_is_about_the_same_is_folded_and_a_large_change_without_rounds_is_not() -> None:
    base = replace(RECORDS[0], samples=factory.samples(latency=factory.latency([0.010, 0.011, 0.012])))
    later = changed(base, "memory", peak_memory_bytes=10 * factory.samples()["memory"]["peak_memory_bytes"])
    view = view_of(source(base), source(later))
    loud = [line.metric for line in view.timed if not line.quiet]
    assert loud == ["peak_memory_bytes"]
    sides = source(base), source(later)
    text = markdown(compare_sources(*sides), *sides)
    assert f"{len(view.timed) - 1} more about the same" in text.replace("\\", "")
