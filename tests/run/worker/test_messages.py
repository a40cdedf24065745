"""Messages on the wire: the bytes of protocol 1, and what is made of bytes that are none."""

from __future__ import annotations

import json

import pytest

from qbench.run.worker import events, messages, requests
from qbench.run.worker.messages import PROTOCOL

EVENTS: list[tuple[events.WorkerEvent, str]] = [
    (events.Started(), '{"event": "started"}'),
    (events.Phase("load", False), '{"event": "phase", "name": "load", "timed": false}'),
    (events.Part("phases", {"load": 0.5}), '{"event": "part", "key": "phases", "value": {"load": 0.5}}'),
    (events.Part("layers", [{"a": None}]), '{"event": "part", "key": "layers", "value": [{"a": null}]}'),
    (
        events.MemoryNeeds({"host": 7, "device": None}),
        '{"event": "needs", "bytes": {"host": 7, "device": null}}',
    ),
    (events.Want(phase="quantize"), '{"event": "want", "phase": "quantize"}'),
    (events.Want(stage=0), '{"event": "want", "stage": 0}'),
    (events.Release(), '{"event": "release"}'),
    (events.RoundsOver(), '{"event": "rounds_over"}'),
    (events.WarmWorkload({"batch_size": 1}), '{"event": "corner", "value": {"batch_size": 1}}'),
    (events.Answer("round", [0.1]), '{"event": "did", "errand": "round", "value": [0.1]}'),
    (
        events.Failure("oom", "MemoryError", "no", "trace", 9),
        '{"event": "error", "status": "oom", "type": "MemoryError", "message": "no", "traceback": "trace", '
        '"peak_rss_bytes": 9}',
    ),
    (events.Done(), '{"event": "done"}'),
]
WORKS: list[tuple[requests.Work, str]] = [
    (requests.MeasureCell({"label": "x"}), '{"kind": "cell", "cell": {"label": "x"}}'),
    (requests.KeepBaseOutputs({}), '{"kind": "base", "cell": {}}'),
    (requests.MeasurePeakRates("cpu", threads=2), '{"kind": "ceilings", "device": "cpu", "threads": 2}'),
    (
        requests.SaveQuantized({}, "out", {"a": 1}),
        '{"kind": "quantize", "cell": {}, "folder": "out", "origin": {"a": 1}}',
    ),
    (
        requests.PlanSuite("name: x", "x.yaml", [{"method": "none"}]),
        '{"kind": "plan", "text": "name: x", "file": "x.yaml", "rules": [{"method": "none"}]}',
    ),
    (requests.TimeRounds({}, True, False), '{"kind": "rounds", "cell": {}, "probes": true, "turns": false}'),
]
GRANTS: list[tuple[requests.Grant, str]] = [
    (requests.Go(siblings=(3,)), '{"go": true, "siblings": [3]}'),
    (
        requests.Slot(2, 1, 0.5, "now", (3, 4)),
        '{"lap": 2, "place": 1, "since_s": 0.5, "since_utc": "now", "siblings": [3, 4]}',
    ),
    (requests.Request("round", 1), '{"errand": "round", "corner": 1, "siblings": []}'),
    (requests.Request("over"), '{"errand": "over", "siblings": []}'),
]


def test_the_protocol_is_that_of_the_bytes_below() -> None:
    assert PROTOCOL == 1, "a new protocol needs new bytes here, and the old ones as a test of their own"


@pytest.mark.parametrize(("message", "line"), [*EVENTS, *WORKS, *GRANTS])
def test_bytes_on_the_wire(message: messages.Message, line: str) -> None:
    assert messages.encode(message) == line.encode() + b"\n"


@pytest.mark.parametrize(("event", "line"), EVENTS)
def test_an_event_is_read_as_it_was_sent_and_a_new_key_is_ignored(
    event: events.WorkerEvent, line: str
) -> None:
    assert events.worker_event(line.encode()) == event
    assert events.worker_event(json.dumps({**json.loads(line), "newer": 1}).encode()) == event


@pytest.mark.parametrize(("work", "line"), WORKS)
def test_a_job_is_read_as_it_was_sent(work: requests.Work, line: str) -> None:
    assert requests.read_work(line.encode()) == work


@pytest.mark.parametrize(("grant", "line"), GRANTS)
def test_a_grant_is_read_as_it_was_sent(grant: requests.Grant, line: str) -> None:
    assert requests.read_grant(line.encode()) == grant


def test_older_parents_send_less() -> None:
    assert requests.read_grant(b'{"go": true}') == requests.Go()
    assert requests.read_work(
        b'{"kind": "ceilings", "device": "cpu", "threads": null}'
    ) == requests.MeasurePeakRates("cpu")


def test_a_job_of_a_newer_version_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="a worker has no job 'fly'; this version knows cell, base"):
        requests.read_work(b'{"kind": "fly"}')


def test_an_event_of_a_newer_version_is_named() -> None:
    assert events.worker_event(b'{"event": "sang", "song": 1}') == events.Unknown("sang")


@pytest.mark.parametrize(
    "line",
    [
        b"Segmentation fault",
        b"\xff\xfe",
        b"",
        b"null",
        b"[1, 2]",
        b"{}",
        b'{"event": 7}',
        b'{"event": ["done"]}',
        b'{"event": "part"}',
        b'{"event": "phase", "name": 3, "timed": "perhaps"}',
        b'{"event": "want", "stage": "soon"}',
        b'{"event": "error", "status": "sad", "type": "E", "message": "m"}',
    ],
)
def test_what_is_no_event_is_malformed_with_a_reason(line: bytes) -> None:
    found = events.worker_event(line)
    assert isinstance(found, events.Malformed)
    assert found.why


def test_the_first_message_of_a_server() -> None:
    old = events.server_event(b'{"event": "ready", "seconds": 1, "threads": 1, "modules": ["a"]}')
    assert isinstance(old, events.Ready)
    assert (old.protocol, old.modules, old.seconds) == (None, ("a",), 1)
    assert events.server_event(b'{"event": "forked", "pid": 5}') == events.Forked(5)
    exited = events.server_event(b'{"event": "exited", "pid": 5, "code": -9, "peak_rss_bytes": 8}')
    assert exited == events.Exited(5, -9, 8)
