"""The command line: one file per verb, each nothing but arguments and calls.

Importing it imports neither torch nor pandas: `qbench --help` answers at once.
"""

from __future__ import annotations

import sys
import traceback


def main() -> None:
    """Entry point of `qbench`. Every error that a user can fix becomes one message and exit code 2.

    Any other is a defect of qbench: its traceback is printed, and the exit code is 2 as well. Python's own 1
    means for `run`, `check` and `gate` that something was measured and found failed or worse.
    """
    from qbench.cli.app import app
    from qbench.errors import QbenchError

    try:
        app()
    except QbenchError as error:
        print(f"qbench: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # `qbench … | head`
        sys.stderr.close()
        sys.exit(141)
    except Exception:
        traceback.print_exc()
        print("qbench: a defect of qbench itself; please report it with the lines above", file=sys.stderr)
        sys.exit(2)
