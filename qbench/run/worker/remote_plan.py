"""Planning a suite for a parent of another version: what this version makes of the text, as plain data."""

from __future__ import annotations

from typing import Any

from qbench.run.planning.plan import Planner
from qbench.run.provenance.environment import environment
from qbench.run.worker.channel import Channel
from qbench.suite.load import parse_suite


def plan(job: dict[str, Any], channel: Channel) -> None:
    """Sends `plan`: every cell with its id, its state and why it is skipped; and `environment`.

    `job` holds the suite's `text`, the `file` that its paths are relative to, and the `rules` of filters.
    """
    planner = Planner(parse_suite(job["text"], job["file"]))
    cells = [
        {"cell": one.cell.to_dict(), "id": one.cell.id, "state": one.state, "reason": one.reason}
        for one in planner.plan(job["rules"])
    ]
    channel.part("plan", {"cells": cells, "made_from": planner.made_from})
    channel.part("environment", environment())
