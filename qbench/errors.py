"""All errors that qbench raises on purpose, as one tree.

QbenchError
├── SuiteError      an invalid suite file: names file, line, key, value and the remedy
├── MethodError     an unknown method, a bad parameter, or a layer that a method cannot quantize
├── ModelError      a model or a corpus cannot be found, is refused, or does not load
├── KernelError     no kernel runs this layer on this device, dtype and number of rows
├── DeviceError     a device is named that this machine does not have
├── ResultsError    a results folder or record cannot be read, or is held by another run
└── GateError       a side of a gate is missing or does not start, or the two do not share a protocol

The command line turns each of them into one message and exit code 2; inside a cell they become a
`failed` record.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_CHOICES = 20


class QbenchError(Exception):
    """Root of all errors that a user can fix."""


class SuiteError(QbenchError):
    """A suite file is invalid."""


class MethodError(QbenchError):
    """A method is unknown, its parameters are invalid, or it cannot quantize a layer."""

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter
        """The parameter at fault, where it is one."""


class ModelError(QbenchError):
    """A model or corpus cannot be found, is refused, or does not load."""


class KernelError(QbenchError):
    """No kernel runs a quantized layer under the present conditions."""


class DeviceError(QbenchError):
    """A device is named that this machine does not have."""


class ResultsError(QbenchError):
    """A results folder or record cannot be read, or another run holds it."""


class GateError(QbenchError):
    """A version that a gate compares is missing, does not start, or speaks another protocol."""


def did_you_mean(word: object, choices: Iterable[str]) -> str:
    """Returns `did you mean 'x'? ` for a near miss, then the list of choices; ready to end a message."""
    known = sorted(choices)
    near = difflib.get_close_matches(str(word), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    more = f", … ({len(known) - MAX_CHOICES} more)" if len(known) > MAX_CHOICES else ""
    return f"{hint}choose from: {', '.join(known[:MAX_CHOICES])}{more}" if known else "it has none"
