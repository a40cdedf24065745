"""Ceilings: bounded by what a second, plain measurement of the same thing gives."""

from __future__ import annotations

import time

import pytest
import torch

from qbench.measure import peak_rates

CPU = torch.device("cpu")


def test_the_fp32_rate_is_that_of_a_product_timed_by_hand() -> None:
    """Up to five pairs: on a machine that others use, either of a pair may meet a busy moment."""
    a = torch.randn(1024, 1024)
    pairs = []
    for _ in range(5):
        rate = peak_rates.gemm_flop_per_s(CPU, torch.float32)
        best_s = float("inf")
        for _ in range(10):
            start_s = time.perf_counter()
            torch.mm(a, a)
            best_s = min(best_s, time.perf_counter() - start_s)
        pairs.append((rate, 2 * 1024**3 / best_s))
        if rate == pytest.approx(pairs[-1][1], rel=0.75):
            return
    pytest.fail(f"no pair agrees within a factor of 1.75: {pairs}")


def test_every_figure_is_a_number_or_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peak_rates.COPY_BYTES, "cpu", 1 << 22)
    monkeypatch.setitem(peak_rates.MAX_N, "cpu", 256)
    monkeypatch.setattr(peak_rates, "BUDGET_S", 0.0)

    def no_int_mm(*_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("not implemented for Char\nmore")

    monkeypatch.setattr(torch, "_int_mm", no_int_mm)
    found = peak_rates.peak_rates("cpu").to_dict()
    assert found["copy_bytes_per_s"] > 1e8
    assert found["gemm_flop_per_s"]["int8"] is None
    assert found["reasons"] == {"int8": "not implemented for Char"}
    assert all(rate > 1e6 for name, rate in found["gemm_flop_per_s"].items() if name != "int8")
