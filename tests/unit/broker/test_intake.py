"""Tests of `livepush.broker.intake`."""

from __future__ import annotations

import json
from typing import Any

import pika
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import BODY_BYTES, Event, Kind, Resync, Stamp, encode_event, encode_resync, headers_of
from livepush.broker.intake import Intake

BODY = encode_event(Event("orders", "lock", {"order": 1}))


class Recorder:
    """A sink that writes down what it gets, and fails when told to."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.failing = False

    def event(self, event: Event, id: str | None, ts: int, size: int = 0) -> None:  # noqa: A002
        self.got.append(id or "live")
        if self.failing:
            raise RuntimeError("the sink's own fault")

    def resync(self, channel: str | None, why: str) -> None:
        self.got.append((channel, why))
        if self.failing:
            raise RuntimeError("the sink's own fault")

    def flush(self) -> None:
        self.got.append("flush")
        if self.failing:
            raise RuntimeError("the sink's own fault")


class IntakeTests(SynchronousTestCase):
    """From bytes to the sink."""

    def setUp(self) -> None:
        self.clock, self.sink = Clock(), Recorder()
        self.intake = Intake(self.sink, self.clock)

    def take(self, number: int, body: bytes = BODY, kind: str = "event", **changes: Any) -> None:
        properties: dict[str, Any] = {"type": kind, "app_id": "p", "message_id": str(number)}
        properties["headers"] = headers_of(Kind.EVENT, 1000, Stamp("p", number, number, 1))
        self.intake.take(b"".join(pika.BasicProperties(**properties | changes).encode()), body)

    def test_events_and_one_flush_a_read(self) -> None:
        """Two events of one read are followed by one flush, and a read that releases nothing by none."""
        self.take(1)
        self.take(2)
        self.intake.end_read()
        self.take(2)
        self.intake.end_read()
        self.assertEqual(self.sink.got, ["p-1", "p-2", "flush"])

    def test_each_kind(self) -> None:
        """A publisher's own resync names its channel; a void is nothing; live has no number."""
        self.take(1)
        self.take(2, encode_resync(Resync("orders", "publisher")), "resync")
        self.take(3, b"{}", "void")
        self.take(9, BODY, "live")
        self.take(4)
        self.assertEqual(self.sink.got, ["p-1", ("orders", "publisher"), "live", "p-4"])

    def test_an_unreadable_message_is_told_at_once(self) -> None:
        """Its number is spent; what follows does not wait; several together are told once."""
        self.take(1)
        self.take(2, b"no JSON")
        self.take(3, bytes(BODY_BYTES + 1))
        self.take(4, kind="control")
        self.take(5)
        self.assertEqual(self.sink.got, ["p-1", (None, "hole"), "p-5"])
        self.assertEqual(self.intake.counters.poisoned, 3)

    def test_a_message_of_a_stranger_is_dropped(self) -> None:
        """Without a good stamp nothing is known to be lost."""
        self.take(1)
        self.intake.take(b"\xff\xff\xff", b"")
        self.take(2, app_id=None)
        self.take(3, headers={"v": 2, "low": "?"})
        self.assertEqual((self.sink.got, self.intake.counters.poisoned), (["p-1"], 3))

    def test_poison_is_logged_once_a_minute(self) -> None:
        """Each kind of it; the log says how often it was kept back, and nothing of what it held."""
        logged: list[str] = []

        def observe(event: Any) -> None:
            if event["log_namespace"] == "livepush.broker.intake":
                logged.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, observe)  # type: ignore[arg-type]
        for number in range(1, 6):
            self.take(number, b"secret")
        self.take(6, json.dumps({"channel": "?"}).encode())
        self.clock.advance(60)
        self.take(7, b"secret")
        self.assertEqual(len(logged), 3, logged)
        self.assertIn("4 more of this kind", logged[-1])
        self.assertNotIn("secret", "".join(logged))

    def test_a_hole_is_told_by_the_clock(self) -> None:
        """10 s after the later number came, with a flush of its own."""
        self.take(1)
        self.take(3)
        self.intake.end_read()
        self.clock.advance(9)
        self.intake.tick()
        self.clock.advance(1)
        self.intake.tick()
        self.assertEqual(self.sink.got, ["p-1", "flush", (None, "hole"), "p-3", "flush"])

    def test_a_restart_is_told_before_anything_later(self) -> None:
        """Held messages follow it, and no hole of their own."""
        self.take(1)
        self.take(3)
        self.intake.restart()
        self.take(7)
        self.assertEqual(self.sink.got, ["p-1", (None, "restart"), "p-3", "p-7"])

    def test_a_fault_of_the_sink_stops_nothing(self) -> None:
        """The next event arrives; the fault is logged once and counted each time."""
        self.sink.failing = True
        self.take(1)
        self.take(2)
        self.take(3, b"no JSON")
        self.intake.end_read()
        self.assertEqual(self.sink.got, ["p-1", "p-2", (None, "hole"), "flush"])
        self.assertEqual((self.intake.counters.failures, len(self.flushLoggedErrors(RuntimeError))), (4, 3))
