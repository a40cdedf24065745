"""`PROTOCOL`: the agreement between a parent and the server of another version of qbench.

`qbench gate` speaks with two servers, one of them of another version. The number stands in the server's
first message. It covers `messages.py`, `events.py` and `requests.py`, and the shape of a cell and of what
its probes send. It goes up with every change that an older parent or server would misread; a new key that
the other side may leave out is none.
"""

from __future__ import annotations

PROTOCOL = 1
SINCE = "0.1.0 with `qbench gate`"
"""The first version whose server can be asked."""
