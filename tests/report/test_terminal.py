"""The terminal's table: numbers, failures with their reasons, and no markup out of records."""

from __future__ import annotations

import io

from rich.console import Console

from qbench.report.terminal import table
from qbench.results.frame import from_records
from qbench.results.record import Record
from tests.results import factory


def printed(*records: Record) -> str:
    console = Console(file=io.StringIO(), width=110)
    console.print(table(from_records(records)))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_numbers_units_and_reasons() -> None:
    text = printed(factory.record(), factory.failed())
    assert "50.6" in text
    assert "11.6" in text
    assert "MB ↓" in text
    assert "failed gptq: ValueError: group_size 7" in text
    assert "Model: austen-6m" in text


def test_records_are_not_markup() -> None:
    assert "[red]gone[/red]" in printed(factory.failed(reason="[red]gone[/red]"))


def test_all_failed_and_none_at_all_print() -> None:
    assert "oom" in printed(factory.failed("awq", "oom", "4 GB"))
    assert "Method" in printed()
