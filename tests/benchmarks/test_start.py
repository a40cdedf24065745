"""Start of the command line: `qbench --help` against an interpreter that does nothing.

Processor time of fresh processes, the least of several, so that a busy machine does not decide. The target,
0.3 s on a machine where `python -c pass` takes 20 ms, is a ratio of 15. Left out: the first start after an
installation, which compiles to bytecode.
"""

from __future__ import annotations

import os
import subprocess
import sys

STARTS = 5
MOST = 15.0


def _cpu_s(*words: str) -> float:
    """Processor time, in seconds, of one process from its start to its end."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


def test_help_comes_at_once() -> None:
    pairs = [(_cpu_s("-m", "qbench", "--help"), _cpu_s("-c", "pass")) for _ in range(STARTS)]
    ours, bare = (min(times) for times in zip(*pairs, strict=True))
    print(f"\nqbench --help: {ours * 1e3:.0f} ms, {ours / bare:.1f} × an empty interpreter")
    assert ours / bare < MOST
