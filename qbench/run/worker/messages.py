"""Form of a message on the wire: one JSON object on a line.

Events carry their name under `event` (`events.py`), requests for a job theirs under `kind`, grants neither
(`requests.py`): their keys are protocol 1's, which servers of older versions speak too. A key that a message
does not know is ignored; a field whose default is None is left out while it is None.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from qbench.json_object import JsonObject

PROTOCOL = 1
"""The agreement between a parent and the server of another version, of which `qbench gate` asks two.

The number stands in the server's first message. It covers the messages, and the shape of a cell and of what
its probes send; it goes up with every change that an older parent or server would misread. A new key that the
other side may leave out is none.
"""
SINCE = "0.1.0 with `qbench gate`"
"""The first version whose server can be asked."""


@dataclass(frozen=True)
class Message:
    """A message; its fields are the keys of its JSON object."""

    def to_wire(self) -> JsonObject:
        """The JSON object of the message."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        optional = {one.name for one in dataclasses.fields(self) if one.default is None}
        return {name: value for name, value in values.items() if value is not None or name not in optional}


def encode(message: Message) -> bytes:
    """The message as a line; ValueError where it holds a number that JSON has not."""
    return json.dumps(message.to_wire(), allow_nan=False).encode() + b"\n"
