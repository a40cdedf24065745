"""Gates as plain data, friendly and hostile."""

from __future__ import annotations

from typing import Any

from qbench.gate.verdicts.finding import Finding, GateResult

HOSTILE = (
    "a|b <script>alert(1)</script> \x00\x07\x1b[31m ]]> & \"quoted\" 'q' `x` \ud800 @everyone \u202egnp "
    "#12 http://evil.example \r\n::error::owned\n%0A::set-output name=x::y  [link](javascript:1) "
    "\uffff * _ ~ $x$"
)


def finding(verdict: str = "same", metric: str = "decode_s_per_token", **changes: Any) -> Finding:
    values: dict[str, Any] = {
        "cell_id": "0123456789abcdef",
        "cell": "austen-6m int4 bf16 cpu",
        "metric": metric,
        "verdict": verdict,
        "gated": verdict != "new",
        "reason": "+5.2 % over 40 paired rounds",
        "baseline": 0.0121,
        "candidate": 0.01273,
        "change": 1.052,
        "low": 1.041,
        "high": 1.063,
        "threshold": 1.03,
        "p": 0.001,
        "samples": 40,
    }
    return Finding(**{**values, **changes})


def result(*findings: Finding, **changes: Any) -> GateResult:
    values: dict[str, Any] = {"suite": "quickstart", "findings": findings, "against": "main (0a1b2c3d4e5f)"}
    return GateResult(**{**values, **changes})


def hostile() -> GateResult:
    """Every text that comes from outside is made to break a format."""
    found = [
        finding(verdict, metric=HOSTILE, cell=HOSTILE, reason=HOSTILE, baseline=HOSTILE, candidate=HOSTILE)
        for verdict in ("worse", "undecided", "missing", "failed", "new", "same", "better")
    ]
    texts = (HOSTILE,)
    return result(*found, suite=HOSTILE, against=HOSTILE, environment=texts, accepted=texts, notes=texts)
