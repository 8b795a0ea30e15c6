"""Tests of `livepush.broker.intake`."""

from __future__ import annotations

import json
from typing import Any

import pika
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import (
    BODY_BYTES,
    Control,
    Event,
    Kind,
    Marker,
    Resync,
    Stamp,
    encode_control,
    encode_event,
    encode_marker,
    encode_resync,
    headers_of,
)
from livepush.broker.intake import OFFSET, Intake
from livepush.broker.logindex import Mark

BODY = encode_event(Event("orders", "lock", {"order": 1}))
HOLE = ["distrust suspend", (None, "hole")]


class Recorder:
    """A sink that writes down what it gets, and fails when told to."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.offsets: dict[str, int | None] = {}
        self.failing = False

    def note(self, what: Any) -> None:
        self.got.append(what)
        if self.failing:
            raise RuntimeError("the sink's own fault")

    def event(self, event: Event, id: str | None, ts: int, size: int = 0, offset: int | None = None) -> None:  # noqa: A002
        self.offsets[id or "live"] = offset
        self.note(id or "live")

    def resync(self, channel: str | None, why: str, offset: int | None = None, id: str | None = None) -> None:  # noqa: A002
        self.offsets[f"{why} {id}"] = offset
        self.note((channel, why))

    def located(self, id: str, offset: int) -> None:  # noqa: A002
        self.note(f"{id} at {offset}")

    def control(self, control: Control) -> None:
        self.note(control)

    def distrust(self, suspend: bool) -> None:
        self.note("distrust suspend" if suspend else "distrust")

    def start_over(self, why: str) -> None:
        self.note("start over")

    def flush(self) -> None:
        self.note("flush")


class IntakeCase(SynchronousTestCase):
    """An intake between bytes and a recorder."""

    def setUp(self) -> None:
        self.clock, self.sink = Clock(), Recorder()
        self.markers: list[tuple[Marker, int]] = []
        self.intake = Intake(
            self.sink, self.clock, on_marker=lambda marker, offset: self.markers.append((marker, offset))
        )

    def raw(self, number: int, kind: str, offset: int | None, low: int, sending: int = 1, **changes: Any) -> bytes:
        headers: dict[str, Any] = dict(headers_of(Kind.EVENT, 1000, Stamp("p", number, low, sending)))
        if offset is not None:
            headers[OFFSET] = offset
        properties: dict[str, Any] = {"type": kind, "app_id": "p", "message_id": str(number), "headers": headers}
        return b"".join(pika.BasicProperties(**properties | changes).encode())

    def queued(self, number: int, body: bytes = BODY, kind: str = "event", **changes: Any) -> None:
        self.intake.take_queued(self.raw(number, kind, None, 1, **changes), body)

    def logged(
        self, number: int, offset: int, body: bytes = BODY, kind: str = "event", low: int = 1, **changes: Any
    ) -> None:
        self.intake.take_logged(self.raw(number, kind, offset, low, **changes), body)

    def marked(self, number: int, offset: int) -> None:
        headers = {**headers_of(Kind.MARKER, 1000, None), OFFSET: offset}
        raw = b"".join(pika.BasicProperties(type="marker", headers=headers).encode())
        self.intake.take_marker(raw, encode_marker(Marker("k3f9", number)))

    def got(self) -> list[Any]:
        """What the sink got since it was asked last."""
        got, self.sink.got = self.sink.got, []
        return got


class IntakeTests(IntakeCase):
    """From bytes to the sink."""

    def test_events_and_one_flush_a_read(self) -> None:
        """Two events of one read are followed by one flush, and a read of which nothing comes by none."""
        self.queued(1)
        self.queued(2)
        self.intake.end_read()
        self.queued(2)
        self.intake.end_read()
        self.assertEqual(self.got(), ["p-1", "p-2", "flush"])

    def test_each_kind(self) -> None:
        """A publisher's own resync names its channel; a void is nothing; live has no number; a control is acted on."""
        self.queued(1)
        self.queued(2, encode_resync(Resync("orders", "publisher")), "resync")
        self.queued(3, b"{}", "void")
        self.queued(9, BODY, "live")
        self.queued(4, encode_control(Control("identity", "7")), "control")
        self.queued(5)
        self.assertEqual(self.got(), ["p-1", ("orders", "publisher"), "live", Control("identity", "7"), "p-5"])
        self.assertEqual(self.sink.offsets["publisher p-2"], None)

    def test_an_event_is_given_once_and_then_located(self) -> None:
        """The queue is quick; the log tells where it stands, and flushes, because positions have moved."""
        self.queued(1)
        self.logged(1, 40)
        self.intake.end_read()
        self.assertEqual(self.got(), ["p-1", "p-1 at 40", "flush"])
        self.assertEqual((self.sink.offsets, self.intake.log.reached.offset), ({"p-1": None}, 40))

    def test_an_event_that_the_log_brings_first(self) -> None:
        """Its place is known at once, and the queue's copy is nothing."""
        self.logged(1, 40)
        self.queued(1)
        self.assertEqual((self.got(), self.sink.offsets), (["p-1"], {"p-1": 40}))

    def test_no_body_is_read_twice(self) -> None:
        """The copy that comes second may hold anything."""
        self.queued(1)
        self.logged(1, 40, b"no JSON")
        self.queued(1, b"no JSON")
        self.assertEqual((self.got(), self.intake.counters.poisoned), (["p-1", "p-1 at 40"], 0))

    def test_a_control_acts_when_it_is_received(self) -> None:
        """Behind a hole, too: what is released after it must not rest on rights that were taken away. And once."""
        revoked = Control("identity", "7")
        self.queued(1)
        self.queued(3, encode_control(revoked), "control")
        self.assertEqual(self.got(), ["p-1", revoked])
        self.logged(3, 41, encode_control(revoked), "control")
        self.logged(2, 42)
        self.queued(3, encode_control(revoked), "control")
        self.assertEqual((self.got(), self.intake.counters.controls), (["p-2"], 1))

    def test_a_control_comes_before_what_it_releases(self) -> None:
        """The events behind it are judged by what it says."""
        self.queued(1)
        self.queued(3)
        self.got()
        self.queued(2, encode_control(Control("identity")), "control")
        self.assertEqual(self.got(), [Control("identity"), "p-3"])

    def test_a_hole_suspends_before_it_is_told(self) -> None:
        """It may have held a control. Its place is that of the record behind it."""
        self.logged(1, 40)
        self.logged(3, 44)
        self.clock.advance(10)
        self.intake.tick()
        self.assertEqual(self.got(), ["p-1", *HOLE, "p-3", "flush"])
        self.assertEqual(self.sink.offsets, {"p-1": 40, "hole p-3": 44, "p-3": 44})

    def test_a_hole_is_told_by_the_clock(self) -> None:
        """10 s after the later number came, with a flush of its own; and it is located later."""
        self.queued(1)
        self.queued(3)
        self.intake.end_read()
        self.clock.advance(9)
        self.intake.tick()
        self.clock.advance(1)
        self.intake.tick()
        self.logged(3, 50)
        self.assertEqual(self.got(), ["p-1", "flush", *HOLE, "p-3", "flush", "p-3 at 50"])

    def test_an_unreadable_message_is_told_at_once(self) -> None:
        """Its number is spent; what follows does not wait."""
        self.queued(1)
        self.queued(2, b"no JSON")
        self.queued(3, bytes(BODY_BYTES + 1))
        self.queued(4)
        self.assertEqual((self.got(), self.intake.counters.poisoned), (["p-1", *HOLE, *HOLE, "p-4"], 2))

    def test_what_can_t_be_read_may_be_a_control(self) -> None:
        """It acts for everybody when it is received; a control of a later version likewise."""
        self.queued(1)
        self.queued(3, b"no JSON", "control")
        self.queued(4, b"{}", "edict")
        self.queued(5, json.dumps({"what": "weather", "user": 7}).encode(), "control")
        self.queued(2)
        unreadable = Control("unreadable")
        self.assertEqual(self.got(), ["p-1", unreadable, unreadable, Control("weather"), "p-2", *HOLE, *HOLE])

    def test_a_message_of_a_stranger_is_dropped(self) -> None:
        """Without a good stamp nothing is known to be lost. In the log it has a place all the same."""
        self.queued(1)
        for take in (self.intake.take_queued, self.intake.take_logged):
            take(b"\xff\xff\xff", b"")
        self.queued(2, app_id=None)
        self.queued(3, headers={"v": 2, "low": "?"})
        self.logged(2, 40, app_id=None)
        self.logged(2, -1)
        self.logged(2, 41, headers={OFFSET: "41"})
        self.assertEqual((self.got(), self.intake.counters.poisoned, self.intake.log.last), (["p-1"], 7, 40))

    def test_poison_is_logged_once_a_minute(self) -> None:
        """Each kind of it; the log says how often it was kept back, and nothing of what it held."""
        logged: list[str] = []

        def observe(event: Any) -> None:
            if event["log_namespace"] == "livepush.broker.intake":
                logged.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, observe)  # type: ignore[arg-type]
        for number in range(1, 6):
            self.queued(number, b"secret")
        self.queued(6, json.dumps({"channel": "?"}).encode())
        self.clock.advance(60)
        self.queued(7, b"secret")
        self.assertEqual(len(logged), 3, logged)
        self.assertIn("4 more of this kind", logged[-1])
        self.assertNotIn("secret", "".join(logged))

    def test_a_fault_of_the_sink_stops_nothing(self) -> None:
        """The next event arrives; each fault is logged once a minute and counted each time."""
        self.sink.failing = True
        self.queued(1)
        self.queued(2)
        self.logged(1, 40)
        self.queued(3, encode_control(Control("identity")), "control")
        self.queued(4, b"no JSON")
        self.intake.end_read()
        self.assertEqual(self.got(), ["p-1", "p-2", "p-1 at 40", Control("identity"), *HOLE, "flush"])
        self.assertEqual((self.intake.counters.failures, len(self.flushLoggedErrors(RuntimeError))), (7, 6))
        self.assertEqual((self.intake.log.last, self.intake.counters.events), (40, 2))


class LogTests(IntakeCase):
    """Attaching, re-attaching, markers."""

    def test_going_on_where_it_was_left(self) -> None:
        """The record at the last offset is the known one: nothing was trimmed, nothing is told."""
        self.logged(1, 40)
        self.logged(2, 42)
        self.got()
        self.intake.expect(42)
        self.logged(2, 42)
        self.logged(3, 43)
        self.assertEqual((self.got(), self.intake.counters.start_overs), (["p-2 at 42", "p-3"], 0))

    def test_going_on_at_a_marker(self) -> None:
        """Markers have their places, too."""
        self.logged(1, 40)
        self.marked(7, 41)
        self.got()
        self.intake.expect(41)
        self.marked(7, 41)
        self.assertEqual(self.intake.counters.start_overs, 0)
        self.intake.expect(41)
        self.marked(8, 41)
        self.assertEqual(self.intake.counters.start_overs, 1)

    def test_a_trimmed_log(self) -> None:
        """Another record comes first: offsets have gaps, so nobody knows what was between."""
        self.logged(1, 40)
        self.queued(3)
        self.got()
        self.intake.expect(40)
        self.logged(9, 44, low=9)
        self.assertEqual(self.got(), ["start over", "flush", "p-9"])
        self.assertEqual((self.intake.log.first, self.intake.ingest.held), (44, 0))

    def test_a_log_that_was_made_anew(self) -> None:
        """Another record stands there, even if it is the same message, sent again."""
        self.logged(1, 40)
        self.got()
        self.intake.expect(40)
        self.logged(1, 40, sending=2)
        self.assertEqual(self.got(), ["start over", "flush", "p-1"])
        self.assertEqual(self.intake.log.reached.offset, 40)

    def test_a_shorter_log(self) -> None:
        """Its first record has a smaller offset."""
        self.logged(1, 40)
        self.got()
        self.intake.expect(40)
        self.logged(2, 0, low=2)
        self.assertEqual((self.got(), self.intake.log.last), (["start over", "flush", "p-2"], 0))

    def test_start_over(self) -> None:
        """Publishers, offsets and what is held are void; the sink knows before anything later, and is flushed."""
        self.logged(1, 40)
        self.logged(3, 41)
        self.got()
        self.intake.start_over("trimmed")
        self.assertEqual(self.got(), ["start over", "flush"])
        self.assertEqual((self.intake.log.reached, self.intake.log.last), (Mark(), -1))
        self.logged(3, 2, low=3)
        self.assertEqual(self.got(), ["p-3"])

    def test_reconnected(self) -> None:
        """Controls that no signal was sent for may have come meanwhile: everybody is identified anew."""
        self.intake.reconnected()
        self.assertEqual(self.got(), ["distrust", "flush"])

    def test_markers(self) -> None:
        """They are told, move the index, and are nothing for the sink but a flush."""
        self.marked(7, 41)
        self.intake.end_read()
        self.assertEqual((self.markers, self.got()), ([(Marker("k3f9", 7), 41)], ["flush"]))
        self.assertEqual(self.intake.log.reached.offset, 41)

    def test_daemons_can_write_nothing_but_markers(self) -> None:
        """What came through their exchange has a place in the log; whatever it says it is, it is not believed."""
        self.intake.take_marker(self.raw(1, "event", 41, 1), BODY)
        self.intake.take_marker(self.raw(1, "control", 42, 1), encode_control(Control("identity")))
        self.intake.take_marker(self.raw(1, "marker", 43, 1), b"{}")
        self.intake.take_marker(self.raw(1, "marker", None, 1), b"{}")
        self.assertEqual((self.got(), self.markers, self.intake.log.last), ([], [], 43))
        self.assertEqual((self.intake.counters.poisoned, self.intake.ingest.publishers), (4, 0))

    def test_what_the_queue_brought_and_the_log_has_not_shown(self) -> None:
        """A log that is not bound to events shows markers and nothing else."""
        self.assertIsNone(self.intake.unlocated_since)
        self.logged(1, 40)
        self.queued(1)
        self.assertIsNone(self.intake.unlocated_since)
        self.clock.advance(5)
        self.queued(2)
        self.clock.advance(1)
        self.queued(3)
        self.marked(7, 41)
        self.assertEqual(self.intake.unlocated_since, 5)
        self.logged(1, 42)
        self.logged(5, 43, app_id="q")
        self.assertEqual(self.intake.unlocated_since, 5)
        self.logged(3, 44)
        self.assertIsNone(self.intake.unlocated_since)
        self.queued(4)
        self.intake.forget_unlocated()
        self.assertEqual((self.intake.unlocated_since, self.intake.counters.logged), (None, 4))
