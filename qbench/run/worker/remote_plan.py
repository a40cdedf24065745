"""The plan of a suite as this version makes it, as plain data for a parent of another version."""

from __future__ import annotations

from qbench.run.planning.plan import Planner
from qbench.run.provenance.environment import environment
from qbench.run.worker.channel import Channel
from qbench.run.worker.requests import PlanSuite
from qbench.suite.load import parse_suite


def plan(work: PlanSuite, channel: Channel) -> None:
    """Sends `plan`: every cell with its id, its state and the reason of a skip; and `environment`."""
    planner = Planner(parse_suite(work.text, work.file))
    cells = [
        {"cell": one.cell.to_dict(), "id": one.cell.id, "state": one.state, "reason": one.reason}
        for one in planner.plan(work.rules)
    ]
    channel.part("plan", {"cells": cells, "made_from": planner.made_from})
    channel.part("environment", environment())
