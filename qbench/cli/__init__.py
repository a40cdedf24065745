"""The command line: one file per verb, each nothing but arguments and calls.

Importing it imports neither torch nor pandas: `qbench --help` answers at once.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of `qbench`. Every error that a user can mend becomes one message and exit code 2."""
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
