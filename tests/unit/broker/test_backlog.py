from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.backlog import Backlog, Bounds, Copy, Draft, Settled
from livepush.broker.envelope import Control, Kind, Resync, decode, headers_of
from livepush.broker.errors import BacklogFull, Expired, PublisherClosed, Refused, Unroutable
from livepush.broker.names import VOID_KEY, event_key, live_key, resync_key

TS = 1_732_250_000_123


def make_draft(channel: str = "orders", live: bool = False, body: bytes = b"{}", type: str = "lock") -> Draft:  # noqa: A002
    kind = Kind.LIVE if live else Kind.EVENT
    return Draft(kind, (live_key if live else event_key)(channel, type), body, channel)


def make_backlog(**bounds: float) -> Backlog[str]:
    return Backlog("p", Bounds(**bounds))  # type: ignore[arg-type]


def add(backlog: Backlog[str], ticket: str, now: float = 0.0, **draft: object) -> str | None:
    return backlog.add(make_draft(**draft), ticket, now, TS)  # type: ignore[arg-type]


def numbers(copies: list[Copy]) -> list[int | None]:
    return [None if copy.stamp is None else copy.stamp.number for copy in copies]


def lows(copies: list[Copy]) -> list[int]:
    return [copy.stamp.low for copy in copies if copy.stamp is not None]


def outcomes(backlog: Backlog[str]) -> dict[str, str]:
    return {one.ticket: "ok" if one.error is None else type(one.error).__name__ for one in backlog.take_settled()}


class DraftTests(SynchronousTestCase):
    def test_a_key_that_amqp_can_not_carry_is_refused_at_the_call(self) -> None:
        """A routing key has 1 to 255 bytes, counted in UTF-8."""
        for key in ("", "k" * 256, "я" * 128):
            with self.assertRaises(ValueError):
                Draft(Kind.EVENT, key, b"{}", "orders")
        Draft(Kind.EVENT, "k" * 255, b"{}", "orders")

    def test_only_events_are_drafted(self) -> None:
        """Voids and resync records are the publisher's own."""
        for kind in (Kind.VOID, Kind.RESYNC):
            with self.assertRaises(ValueError):
                Draft(kind, "event.a.b", b"{}", "a")
        with self.assertRaises(ValueError):
            Draft(Kind.EVENT, "event.a.b", "{}", "a")  # type: ignore[arg-type]


class NumberTests(SynchronousTestCase):
    def test_numbers_and_ids_are_given_at_once(self) -> None:
        """Events are 1, 2, 3 ... of their publisher, also without a broker; live has no number."""
        backlog = make_backlog()
        self.assertEqual(add(backlog, "a"), "p-1")
        self.assertIsNone(add(backlog, "b", live=True))
        self.assertEqual(add(backlog, "c"), "p-2")
        self.assertEqual(backlog.copies(TS), [])
        self.assertEqual(len(backlog), 3)

    def test_copies_come_in_the_order_of_publishing(self) -> None:
        """Live keeps its place between the events."""
        backlog = make_backlog()
        add(backlog, "a")
        add(backlog, "b", live=True)
        add(backlog, "c")
        add(backlog, "d", live=True)
        backlog.opened()
        copies = backlog.copies(TS)
        self.assertEqual(numbers(copies), [1, None, 2, None])
        self.assertEqual([copy.kind for copy in copies], [Kind.EVENT, Kind.LIVE, Kind.EVENT, Kind.LIVE])

    def test_a_copy_is_the_draft_with_its_stamp(self) -> None:
        """Publisher, number, low and sending are those of this copy."""
        backlog = make_backlog()
        add(backlog, "a", body=b'{"a":1}')
        backlog.opened()
        backlog.lost()
        backlog.opened()
        (copy,) = backlog.copies(TS)
        self.assertEqual((copy.key, copy.body, copy.ts), ("event.orders.lock", b'{"a":1}', TS))
        assert copy.stamp is not None
        self.assertEqual(copy.stamp.id, "p-1")
        self.assertEqual((copy.stamp.low, copy.stamp.sending), (1, 2))

    def test_low_is_the_lowest_number_not_confirmed(self) -> None:
        """A confirm out of order does not move it; one at the low end moves it over all that were confirmed."""
        backlog = make_backlog()
        for ticket in "abc":
            add(backlog, ticket)
        backlog.opened()
        self.assertEqual(lows(backlog.copies(TS)), [1, 1, 1])
        backlog.confirmed(2, False)
        add(backlog, "d")
        self.assertEqual(lows(backlog.copies(TS)), [1])
        backlog.confirmed(1, False)
        add(backlog, "e")
        self.assertEqual(lows(backlog.copies(TS)), [3])
        backlog.confirmed(0, True)
        self.assertEqual((backlog.low, len(backlog), backlog.bytes), (6, 0, 0))

    def test_confirms_end_publications(self) -> None:
        """One, several up to a tag, all; what is not known is nobody's."""
        backlog = make_backlog()
        for ticket in "abcd":
            add(backlog, ticket)
        backlog.opened()
        backlog.copies(TS)
        self.assertTrue(backlog.confirmed(2, False))
        self.assertEqual(backlog.take_settled(), [Settled("b", "p-2", None)])
        self.assertFalse(backlog.confirmed(2, False))
        self.assertTrue(backlog.confirmed(3, True))
        self.assertEqual(outcomes(backlog), {"a": "ok", "c": "ok"})
        self.assertFalse(backlog.confirmed(99, False))
        self.assertTrue(backlog.confirmed(99, True))
        self.assertEqual(outcomes(backlog), {"d": "ok"})


class FlightTests(SynchronousTestCase):
    def test_so_many_messages_are_in_flight(self) -> None:
        """The rest follows as answers come."""
        backlog = make_backlog(flight_messages=2)
        for ticket in "abc":
            add(backlog, ticket)
        self.assertFalse(backlog.sendable)
        backlog.opened()
        self.assertTrue(backlog.sendable)
        self.assertEqual(numbers(backlog.copies(TS)), [1, 2])
        self.assertFalse(backlog.sendable)
        self.assertEqual(backlog.copies(TS), [])
        backlog.confirmed(1, False)
        self.assertEqual(numbers(backlog.copies(TS)), [3])

    def test_so_many_bytes_are_in_flight(self) -> None:
        """What is over the bound by itself goes alone."""
        backlog = make_backlog(flight_bytes=1_000)
        for ticket in "abc":
            add(backlog, ticket, body=b"x" * 2_000)
        backlog.opened()
        for number in (1, 2, 3):
            self.assertEqual(numbers(backlog.copies(TS)), [number])
            backlog.confirmed(number, False)

    def test_a_call_gives_no_more_than_was_asked_for(self) -> None:
        """So that its caller holds no lock for long."""
        backlog = make_backlog()
        for ticket in "abc":
            add(backlog, ticket)
        backlog.opened()
        self.assertEqual(numbers(backlog.copies(TS, 2)), [1, 2])
        self.assertEqual(numbers(backlog.copies(TS, 2)), [3])


class GoBackTests(SynchronousTestCase):
    def test_after_a_lost_channel_all_that_is_unconfirmed_goes_again_in_order(self) -> None:
        """What was confirmed does not; answers of the old channel mean nothing on the new one."""
        backlog = make_backlog()
        for ticket in "abcd":
            add(backlog, ticket)
        backlog.opened()
        backlog.copies(TS)
        backlog.confirmed(2, False)
        backlog.lost()
        self.assertFalse(backlog.sendable)
        self.assertEqual(backlog.copies(TS), [])
        self.assertFalse(backlog.confirmed(1, False))
        backlog.opened()
        self.assertEqual(numbers(backlog.copies(TS)), [1, 3, 4])
        backlog.confirmed(1, False)
        self.assertEqual(backlog.low, 3)

    def test_a_nack_stops_sending(self) -> None:
        """The first of three nacked: nothing follows before the channel was opened anew, then all three do."""
        backlog = make_backlog()
        for ticket in "abc":
            add(backlog, ticket)
        backlog.opened()
        backlog.copies(TS)
        self.assertTrue(backlog.nacked(1, False))
        add(backlog, "d")
        self.assertEqual(backlog.copies(TS), [])
        backlog.opened()
        self.assertEqual(numbers(backlog.copies(TS)), [1, 2, 3, 4])
        self.assertEqual(outcomes(backlog), {})

    def test_a_nack_of_many_is_a_nack(self) -> None:
        """Also by `multiple`; and one that names nothing in flight is none."""
        backlog = make_backlog()
        add(backlog, "a")
        backlog.opened()
        backlog.copies(TS)
        self.assertFalse(backlog.nacked(7, False))
        self.assertTrue(backlog.nacked(1, True))


class LiveTests(SynchronousTestCase):
    def test_live_waits_two_seconds(self) -> None:
        """Then it has expired, and its room is free."""
        backlog = make_backlog()
        add(backlog, "a", now=10.0, live=True)
        self.assertEqual(backlog.expires, 12.0)
        backlog.expire(11.9)
        self.assertEqual(outcomes(backlog), {})
        backlog.expire(12.0)
        self.assertEqual(outcomes(backlog), {"a": "Expired"})
        self.assertEqual((len(backlog), backlog.bytes, backlog.expires), (0, 0, None))

    def test_live_is_sent_once(self) -> None:
        """Lost or nacked in flight, it is not sent again, and its author is told."""
        for end in ("lost", "nacked"):
            backlog = make_backlog()
            add(backlog, "a", live=True)
            backlog.opened()
            backlog.copies(TS)
            if end == "lost":
                backlog.lost()
                backlog.opened()
            else:
                self.assertFalse(backlog.nacked(1, False))
            self.assertEqual(backlog.copies(TS), [])
            self.assertEqual(outcomes(backlog), {"a": "Expired"})
            self.assertEqual((len(backlog), backlog.bytes), (0, 0))

    def test_live_that_was_confirmed(self) -> None:
        """Its result has no id."""
        backlog = make_backlog()
        add(backlog, "a", live=True)
        backlog.opened()
        backlog.copies(TS)
        backlog.confirmed(1, False)
        self.assertEqual(backlog.take_settled(), [Settled("a", None, None)])


class RefusalTests(SynchronousTestCase):
    def test_the_culprit_is_found_with_one_in_flight(self) -> None:
        """It fails, its number goes out as a void, all others arrive, in order."""
        backlog = make_backlog()
        for ticket in "abc":
            add(backlog, ticket)
        backlog.opened()
        backlog.copies(TS)
        self.assertTrue(backlog.refused("403"))
        backlog.opened()
        self.assertTrue(backlog.careful)
        self.assertEqual(numbers(backlog.copies(TS)), [1])
        self.assertEqual(backlog.copies(TS), [])
        backlog.confirmed(1, False)
        self.assertEqual(numbers(backlog.copies(TS)), [2])
        self.assertTrue(backlog.refused("403 ACCESS_REFUSED"))
        self.assertEqual(outcomes(backlog), {"a": "ok", "b": "Refused"})
        backlog.opened()
        (void,) = backlog.copies(TS)
        self.assertEqual((void.kind, void.key, void.body), (Kind.VOID, VOID_KEY, b"{}"))
        assert void.stamp is not None
        self.assertEqual(void.stamp.number, 2)
        backlog.confirmed(1, False)
        self.assertEqual(numbers(backlog.copies(TS)), [3])
        backlog.confirmed(2, False)
        self.assertEqual(outcomes(backlog), {"c": "ok"})
        self.assertFalse(backlog.careful)
        self.assertEqual((len(backlog), backlog.bytes), (0, 0))

    def test_careful_until_all_that_was_in_flight_is_settled(self) -> None:
        """Several culprits in a row cost one channel each; what came later flows at full speed afterwards."""
        backlog = make_backlog()
        for ticket in "abc":
            add(backlog, ticket)
        backlog.opened()
        backlog.copies(TS)
        for ticket in "de":
            add(backlog, ticket)
        backlog.refused("403")
        for _ in range(3):
            backlog.opened()
            self.assertEqual(len(backlog.copies(TS)), 1)
            backlog.refused("403")
            backlog.opened()
            self.assertEqual(len(backlog.copies(TS)), 1)
            backlog.confirmed(1, False)
        self.assertEqual(outcomes(backlog), {"a": "Refused", "b": "Refused", "c": "Refused"})
        self.assertEqual(numbers(backlog.copies(TS)), [4, 5])

    def test_who_is_refused_alone_is_the_culprit(self) -> None:
        """Without a second round."""
        backlog = make_backlog()
        add(backlog, "a")
        backlog.opened()
        backlog.copies(TS)
        self.assertTrue(backlog.refused("406 too large"))
        (settled,) = backlog.take_settled()
        self.assertIsInstance(settled.error, Refused)
        self.assertIn("too large", str(settled.error))
        self.assertEqual(settled.id, "p-1")

    def test_a_refused_live_message_fails(self) -> None:
        """It has no number, so nothing goes out for it."""
        backlog = make_backlog()
        add(backlog, "a", live=True)
        backlog.opened()
        backlog.copies(TS)
        self.assertTrue(backlog.refused("403"))
        backlog.opened()
        self.assertEqual(backlog.copies(TS), [])
        self.assertEqual(outcomes(backlog), {"a": "Refused"})
        self.assertEqual((len(backlog), backlog.bytes), (0, 0))

    def test_a_refused_void_leads_nowhere(self) -> None:
        """Then the broker refuses the publisher: it waits, and keeps the number."""
        backlog = make_backlog()
        add(backlog, "a")
        for progress in (True, False, False):
            backlog.opened()
            self.assertEqual(numbers(backlog.copies(TS)), [1])
            self.assertEqual(backlog.refused("403"), progress)
        self.assertEqual(len(backlog), 1)

    def test_a_refusal_of_nothing_leads_nowhere(self) -> None:
        """There is nobody to suspect."""
        backlog = make_backlog()
        backlog.opened()
        self.assertFalse(backlog.refused("403"))

    def test_a_connection_lost_with_one_in_flight_accuses_nobody(self) -> None:
        """Only a refusal does."""
        backlog = make_backlog()
        add(backlog, "a")
        backlog.opened()
        backlog.copies(TS)
        backlog.lost()
        backlog.opened()
        self.assertEqual([copy.kind for copy in backlog.copies(TS)], [Kind.EVENT])


class ReturnTests(SynchronousTestCase):
    def test_what_comes_back_was_kept_by_nobody(self) -> None:
        """It fails with its confirm, and its number is spent."""
        backlog = make_backlog()
        for ticket in "ab":
            add(backlog, ticket)
        backlog.opened()
        backlog.copies(TS)
        backlog.returned(1)
        self.assertEqual(outcomes(backlog), {})
        backlog.confirmed(2, True)
        self.assertEqual(outcomes(backlog), {"a": "Unroutable", "b": "ok"})
        self.assertEqual(backlog.low, 3)

    def test_a_return_counts_for_its_copy_only(self) -> None:
        """When the channel goes before the confirm, the next copy may find a queue."""
        backlog = make_backlog()
        add(backlog, "a")
        backlog.opened()
        backlog.copies(TS)
        backlog.returned(1)
        backlog.lost()
        backlog.opened()
        backlog.copies(TS)
        backlog.confirmed(1, False)
        self.assertEqual(outcomes(backlog), {"a": "ok"})


class BoundTests(SynchronousTestCase):
    def fill(self, backlog: Backlog[str], count: int) -> None:
        for index in range(count):
            add(backlog, f"t{index}")

    def test_an_event_that_finds_it_full_gets_no_number(self) -> None:
        """A resync record for its channel is numbered first, as soon as there is room."""
        backlog = make_backlog(messages=2)
        self.fill(backlog, 2)
        for channel in ("news", "orders.5", "news"):
            with self.assertRaises(BacklogFull):
                add(backlog, "x", channel=channel)
        backlog.opened()
        self.assertEqual(numbers(backlog.copies(TS)), [1, 2])
        backlog.confirmed(1, False)
        copies = backlog.copies(TS + 5)
        self.assertEqual([copy.key for copy in copies], [resync_key("news"), resync_key("orders.5")])
        self.assertEqual(numbers(copies), [3, 4])
        stamp = copies[0].stamp
        assert stamp is not None
        message = decode("resync", "p", "3", headers_of(Kind.RESYNC, copies[0].ts, stamp), copies[0].body)
        self.assertEqual(message.content, Resync("news", "publisher"))
        backlog.confirmed(0, True)
        self.assertEqual(add(backlog, "y"), "p-5")
        self.assertEqual(outcomes(backlog), {"t0": "ok", "t1": "ok"})

    def test_a_record_that_waits_for_room_is_left_to_do(self) -> None:
        """Whoever waits until nothing is left, as a process does that ends, waits for it, too."""
        backlog = make_backlog(messages=1)
        self.fill(backlog, 1)
        with self.assertRaises(BacklogFull):
            add(backlog, "x")
        backlog.opened()
        backlog.copies(TS)
        backlog.confirmed(0, True)
        self.assertEqual(len(backlog), 1)
        self.assertEqual([copy.kind for copy in backlog.copies(TS)], [Kind.RESYNC])
        backlog.confirmed(0, True)
        self.assertEqual(len(backlog), 0)

    def test_no_event_overtakes_the_record_of_a_lost_one(self) -> None:
        """Also when nothing was sent meanwhile."""
        backlog = make_backlog(messages=2)
        add(backlog, "a", live=True)
        add(backlog, "b", live=True)
        with self.assertRaises(BacklogFull):
            add(backlog, "x", channel="news")
        backlog.expire(2.0)
        self.assertEqual(add(backlog, "c"), "p-2")
        backlog.opened()
        self.assertEqual([copy.key for copy in backlog.copies(TS)], [resync_key("news"), event_key("orders", "lock")])

    def test_an_overloaded_publisher_sends_events_and_not_only_records(self) -> None:
        """Room is a sixteenth of the bound: one freed place is not given to a record at once."""
        backlog = make_backlog(messages=160, flight_messages=200)
        self.fill(backlog, 160)
        with self.assertRaises(BacklogFull):
            add(backlog, "x")
        backlog.opened()
        backlog.copies(TS, 200)
        backlog.confirmed(9, True)
        self.assertEqual(backlog.copies(TS), [])
        with self.assertRaises(BacklogFull):
            add(backlog, "y")
        backlog.confirmed(10, False)
        self.assertEqual([copy.kind for copy in backlog.copies(TS)], [Kind.RESYNC])
        self.assertEqual(add(backlog, "z"), "p-162")

    def test_bytes_are_bounded(self) -> None:
        """Key and body count; what is sent and confirmed is free again."""
        backlog = make_backlog(bytes=1_000)
        add(backlog, "a", body=b"x" * 950)
        with self.assertRaises(BacklogFull):
            add(backlog, "b", body=b"x" * 50)
        backlog.opened()
        self.assertEqual(numbers(backlog.copies(TS)), [1])
        backlog.confirmed(0, True)
        self.assertEqual([copy.kind for copy in backlog.copies(TS)], [Kind.RESYNC])
        backlog.confirmed(0, True)
        self.assertEqual(backlog.bytes, 0)

    def test_an_event_larger_than_the_bound_is_resynced_at_once(self) -> None:
        """There is room for the record."""
        backlog = make_backlog(bytes=1_000)
        backlog.opened()
        with self.assertRaises(BacklogFull):
            add(backlog, "a", body=b"x" * 1_001)
        self.assertTrue(backlog.sendable)
        self.assertEqual([copy.kind for copy in backlog.copies(TS)], [Kind.RESYNC])

    def test_live_that_finds_it_full_leaves_no_record(self) -> None:
        """It is outside the promise."""
        backlog = make_backlog(messages=1)
        self.fill(backlog, 1)
        with self.assertRaises(BacklogFull):
            add(backlog, "x", live=True)
        backlog.opened()
        backlog.copies(TS)
        backlog.confirmed(0, True)
        self.assertEqual(backlog.copies(TS), [])

    def test_too_many_lost_channels_become_all_channels(self) -> None:
        """The list of names is bounded; beyond it one record stands for all."""
        backlog = make_backlog(messages=1, channels=3)
        self.fill(backlog, 1)
        for index in range(5):
            with self.assertRaises(BacklogFull):
                add(backlog, "x", channel=f"user.{index}")
        backlog.opened()
        backlog.copies(TS)
        backlog.confirmed(0, True)
        self.assertEqual([copy.key for copy in backlog.copies(TS)], ["event.livepush.resync"])

    def test_a_record_that_is_refused_becomes_one_for_all_channels(self) -> None:
        """A loss is never silent."""
        backlog = make_backlog(bytes=100)
        backlog.opened()
        with self.assertRaises(BacklogFull):
            add(backlog, "a", body=b"x" * 101)
        backlog.copies(TS)
        self.assertTrue(backlog.refused("403"))
        backlog.opened()
        copies = backlog.copies(TS)
        self.assertEqual([copy.key for copy in copies], [VOID_KEY, "event.livepush.resync"])
        self.assertEqual(numbers(copies), [1, 2])


class ControlTests(SynchronousTestCase):
    def control(self, backlog: Backlog[str], ticket: str, user: str | None = None, what: str = "identity") -> str:
        """As the publisher adds it; the ticket that will tell of it."""
        draft = Draft.of_control(Control(what, user))
        earlier = backlog.waiting(draft)
        if earlier is not None:
            return earlier
        backlog.add(draft, ticket, 0.0, TS)
        return ticket

    def test_as_it_was_drafted(self) -> None:
        """A control message has a number among the events, a key by its subject and a body of the envelope's."""
        backlog = make_backlog()
        add(backlog, "a")
        self.control(backlog, "b", "5")
        self.control(backlog, "c", what="outbox")
        backlog.opened()
        _, identity, outbox = backlog.copies(TS)
        self.assertEqual(
            (identity.kind, identity.key, outbox.key), (Kind.CONTROL, "control.identity", "control.outbox")
        )
        assert identity.stamp is not None
        headers = headers_of(identity.kind, identity.ts, identity.stamp)
        self.assertEqual(decode("control", "p", "2", headers, identity.body).content, Control("identity", "5"))

    def test_the_bounds_do_not_count_it(self) -> None:
        """A revocation finds a place in a full backlog, and takes none from an event."""
        backlog = make_backlog(messages=2, bytes=200)
        self.control(backlog, "c", "1")
        for ticket in "ab":
            add(backlog, ticket)
        bytes_before = backlog.bytes
        self.assertEqual(self.control(backlog, "d", "2"), "d")
        self.assertEqual((len(backlog), backlog.bytes), (4, bytes_before))
        with self.assertRaises(BacklogFull):
            add(backlog, "x")
        backlog.opened()
        self.assertEqual(numbers(backlog.copies(TS)), [1, 2, 3, 4])
        backlog.confirmed(0, True)
        self.assertEqual(outcomes(backlog), dict.fromkeys("abcd", "ok"))
        self.assertEqual((len(backlog), backlog.bytes), (1, 0))
        self.assertEqual([copy.kind for copy in backlog.copies(TS)], [Kind.RESYNC])  # for x

    def test_one_that_waits_stands_for_the_next(self) -> None:
        """Of the same user: its receiver looks after both. Another user's is another message."""
        backlog = make_backlog()
        self.assertEqual(self.control(backlog, "a", "5"), "a")
        self.assertEqual(self.control(backlog, "b", "5"), "a")
        self.assertEqual(self.control(backlog, "c", "6"), "c")
        self.assertEqual(self.control(backlog, "d"), "d")
        self.assertEqual(len(backlog), 3)

    def test_one_that_was_sent_stands_for_itself(self) -> None:
        """Its receiver may have looked already, so the next gets a number of its own, whatever became of the first."""
        for end in ("in flight", "lost", "confirmed"):
            backlog = make_backlog()
            self.control(backlog, "a", "5")
            backlog.opened()
            backlog.copies(TS)
            if end == "lost":
                backlog.lost()
                backlog.opened()
            elif end == "confirmed":
                backlog.confirmed(1, False)
            self.assertEqual(self.control(backlog, "b", "5"), "b")
            self.assertEqual(self.control(backlog, "c", "5"), "b")
            self.assertEqual(numbers(backlog.copies(TS)), [1, 2] if end == "lost" else [2])
            self.assertEqual(self.control(backlog, "d", "5"), "d")

    def test_too_many_subjects_become_everybody(self) -> None:
        """What waits without a broker is bounded; a message for the outbox is not about users."""
        backlog = make_backlog(subjects=3)
        for user in "123456":
            self.control(backlog, user, user)
        self.assertEqual(self.control(backlog, "b", "2"), "2")
        self.assertEqual(self.control(backlog, "x", what="outbox"), "x")
        backlog.opened()
        bodies = [copy.body for copy in backlog.copies(TS)]
        everybody = Draft.of_control(Control("identity")).body
        self.assertEqual(bodies[3:], [everybody, Draft.of_control(Control("outbox")).body])
        self.assertEqual(self.control(backlog, "y", "9"), "y")

    def test_too_many_disconnects_fail(self) -> None:
        """No look at everybody would find out whom the site wants to go, so nothing else can stand for that."""
        backlog = make_backlog(subjects=2)
        for user in "12":
            backlog.add(Draft.of_control(Control("disconnect", user, why="")), user, 0, TS)
        with self.assertRaises(BacklogFull):
            backlog.add(Draft.of_control(Control("disconnect", "3", why="")), "3", 0, TS)
        revoked = Draft.of_control(Control("revoke", "3", channel="orders"))
        backlog.add(revoked, "4", 0, TS)
        backlog.opened()
        self.assertEqual(backlog.copies(TS)[-1].body, Draft.of_control(Control("identity")).body)

    def test_a_refused_one_fails(self) -> None:
        """Its number goes out as a void, which counts no more than it did."""
        backlog = make_backlog()
        self.control(backlog, "a", "5")
        backlog.opened()
        backlog.copies(TS)
        self.assertTrue(backlog.refused("403"))
        self.assertEqual((outcomes(backlog), backlog.bytes), ({"a": "Refused"}, 0))
        backlog.opened()
        self.assertEqual([copy.kind for copy in backlog.copies(TS)], [Kind.VOID])
        backlog.confirmed(1, False)
        self.assertEqual((len(backlog), backlog.bytes, backlog.low), (0, 0, 2))

    def test_the_end_takes_it_along(self) -> None:
        """What waited fails, and does not stand for what comes after."""
        backlog = make_backlog()
        self.control(backlog, "a", "5")
        backlog.abandon(PublisherClosed("end"))
        self.assertEqual(outcomes(backlog), {"a": "PublisherClosed"})
        self.assertIsNone(backlog.waiting(Draft.of_control(Control("identity", "5"))))


class AbandonTests(SynchronousTestCase):
    def test_what_is_left_fails_at_the_end(self) -> None:
        """Waiting or in flight, numbered or live, each once; nothing is sent any more."""
        backlog = make_backlog(flight_messages=2)
        for ticket in "ab":
            add(backlog, ticket)
        add(backlog, "c", live=True)
        add(backlog, "d", live=True)
        backlog.opened()
        backlog.copies(TS)
        backlog.confirmed(1, False)
        backlog.copies(TS)
        self.assertEqual(backlog.abandon(PublisherClosed("end")), 3)
        closed = dict.fromkeys("bcd", "PublisherClosed")
        self.assertEqual(outcomes(backlog), {"a": "ok", **closed})
        self.assertEqual((len(backlog), backlog.bytes), (0, 0))
        self.assertFalse(backlog.confirmed(2, True))
        self.assertEqual(backlog.copies(TS), [])
        self.assertEqual(backlog.abandon(PublisherClosed("end")), 0)


# -- a broker that does all it may -------------------------------------------------------------------------------------

BOUNDS = Bounds(messages=6, bytes=2_000, flight_messages=4, flight_bytes=700, channels=3)
ACTIONS = (
    "event",
    "control",
    "forbidden control",
    "large",
    "forbidden",
    "live",
    "forbidden live",
    "open",
    "send",
    "take",
    "answer",
    "nack",
    "cut",
    "wait",
)


@dataclass
class SimulatedChannel:
    """One channel at the broker: copies under way, those taken and not yet answered."""

    under_way: list[tuple[int, Copy]] = field(default_factory=list)
    unanswered: dict[int, Copy] = field(default_factory=dict)
    sent: int = 0


class World:
    """A backlog and a broker that confirms, nacks, refuses, closes and is slow as the schedule says."""

    def __init__(self, test: SynchronousTestCase) -> None:
        self.test = test
        self.backlog: Backlog[int] = Backlog("p", BOUNDS)
        self.now = 0.0
        self.channel: SimulatedChannel | None = None
        self.old: list[SimulatedChannel] = []
        self.log: list[Copy] = []
        self.spent: set[int] = set()
        self.ever_spent: set[int] = set()
        self.live_sent: list[bytes] = []
        self.tickets: dict[int, str] = {}  # what it was
        self.ids: dict[int, str | None] = {}
        self.settled: dict[int, Settled[int]] = {}
        self.full: list[tuple[int, str]] = []  # the number that came next, the channel
        self.controls: dict[int, bytes] = {}
        self.sent_ids: set[str | None] = set()

    def step(self, action: str, choice: int) -> None:
        if action in ("event", "large", "forbidden", "live", "forbidden live"):
            self.add(action, choice)
        elif action in ("control", "forbidden control"):
            self.add_control(action, choice)
        elif action == "open" and self.channel is None:
            self.channel = SimulatedChannel()
            self.backlog.opened()
        elif action == "send":
            self.send(choice)
        elif action == "take":
            self.take(choice)
        elif action in ("answer", "nack") and self.channel is not None and self.channel.unanswered:
            self.answer(action, choice)
        elif action == "cut" and self.channel is not None:
            self.leave()
            self.backlog.lost()
        elif action == "wait":
            self.now += 0.5 * (choice % 5)
            self.backlog.expire(self.now)
        self.collect()

    def add(self, what: str, choice: int) -> None:
        ticket = len(self.tickets)
        self.tickets[ticket] = what
        live = "live" in what
        channel = ("forbidden" if "forbidden" in what else "orders") + str(choice % 5)
        draft = make_draft(channel, live, str(ticket).encode() * (400 if what == "large" else 1))
        number = self.next_number()
        try:
            self.ids[ticket] = self.backlog.add(draft, ticket, self.now, TS)
        except BacklogFull:
            del self.tickets[ticket]
            self.tickets[ticket] = "full"
            if not live:
                self.full.append((number, channel))

    def add_control(self, what: str, choice: int) -> None:
        user = f"{'forbidden' if 'forbidden' in what else 'user'}{choice % 5}"
        draft = Draft(Kind.CONTROL, f"control.{user}", f"of {user}".encode())
        earlier = self.backlog.waiting(draft)
        if earlier is None:
            ticket = len(self.tickets)
            self.tickets[ticket] = what
            self.ids[ticket] = self.backlog.add(draft, ticket, self.now, TS)
            self.controls[ticket] = draft.body
        else:
            # Nobody may have it yet: what happened just now must be seen by whoever receives it.
            self.test.assertNotIn(self.ids[earlier], self.sent_ids)
            self.test.assertEqual(self.controls[earlier], draft.body)

    def next_number(self) -> int:
        return self.backlog._next

    def send(self, choice: int) -> None:
        for copy in self.backlog.copies(TS, 1 + choice % 4):
            assert self.channel is not None
            self.channel.sent += 1
            self.channel.under_way.append((self.channel.sent, copy))
            if copy.stamp is None:
                self.live_sent.append(copy.body)
            else:
                self.sent_ids.add(copy.stamp.id)
        if self.channel is not None:
            flight = len(self.channel.under_way) + len(self.channel.unanswered)
            self.test.assertTrue(flight <= (1 if self.backlog.careful else BOUNDS.flight_messages) or choice < 0)

    def take(self, choice: int) -> None:
        """The broker takes the next copy, of the channel or of one that the publisher has left."""
        channels = [one for one in (self.channel, *self.old) if one is not None and one.under_way]
        if not channels:
            return
        channel = channels[choice % len(channels)]
        tag, copy = channel.under_way.pop(0)
        if ".forbidden" in copy.key:
            channel.under_way.clear()
            if channel is self.channel:
                self.channel = None
                self.backlog.refused("403")
            return
        if copy.stamp is not None:
            self.record(copy, spent=choice % 7 == 3)
            if channel is self.channel and copy.stamp.number in self.spent:
                self.backlog.returned(copy.stamp.number)
        channel.unanswered[tag] = copy

    def record(self, copy: Copy, spent: bool) -> None:
        assert copy.stamp is not None
        known = {one.stamp.number for one in self.log if one.stamp is not None} | self.spent
        missing = set(range(1, copy.stamp.low)) - known
        self.test.assertEqual(missing, set(), f"low {copy.stamp.low} of number {copy.stamp.number}")
        if spent and copy.stamp.number not in known:
            self.spent.add(copy.stamp.number)
            self.ever_spent.add(copy.stamp.number)
        else:
            self.log.append(copy)
            self.spent.discard(copy.stamp.number)

    def answer(self, action: str, choice: int) -> None:
        assert self.channel is not None
        tags = sorted(self.channel.unanswered)
        tag = tags[choice % len(tags)]
        if action == "nack":
            del self.channel.unanswered[tag]
            if self.backlog.nacked(tag, False):
                self.leave()
        elif choice % 2 and all(one > tag for one, _ in self.channel.under_way):
            for one in tags:
                if one <= tag:
                    del self.channel.unanswered[one]
            self.backlog.confirmed(tag, True)
        else:
            del self.channel.unanswered[tag]
            self.backlog.confirmed(tag, False)

    def leave(self) -> None:
        """What is under way on a channel that the publisher has left may still arrive."""
        assert self.channel is not None
        self.old.append(self.channel)
        self.channel = None

    def collect(self) -> None:
        for one in self.backlog.take_settled():
            self.test.assertNotIn(one.ticket, self.settled)
            self.settled[one.ticket] = one

    def settle(self) -> None:
        """All faults end: everything is taken and confirmed."""
        for _ in range(1_000):
            self.step("open", 0)
            self.step("send", 3)
            self.step("take", 0)
            self.step("answer", 0)
            if not len(self.backlog) and not any(one.under_way for one in self.old):
                break
        self.test.assertEqual((len(self.backlog), self.backlog.bytes), (0, 0))

    def check(self) -> None:
        test = self.test
        seen: list[int] = []
        by_number: dict[int, Copy] = {}
        for copy in self.log:
            assert copy.stamp is not None
            if copy.stamp.number not in by_number and copy.stamp.number not in self.ever_spent:
                # One that came back and was sent again after a cut may stand behind later ones, whose `low` say so.
                seen.append(copy.stamp.number)
            by_number[copy.stamp.number] = copy
        test.assertEqual(seen, sorted(seen), "first copies out of order")
        test.assertEqual(set(by_number) | self.spent, set(range(1, self.next_number())), "a number was never published")
        test.assertEqual(len(self.live_sent), len(set(self.live_sent)), "live was sent twice")
        for ticket, what in self.tickets.items():
            if what == "full":
                test.assertNotIn(ticket, self.settled)
                continue
            error = self.settled[ticket].error
            if what == "live":
                test.assertTrue(error is None or isinstance(error, Expired))
            elif what == "forbidden live":
                test.assertIsInstance(error, Refused | Expired)
            else:
                number = int(str(self.ids[ticket]).partition("-")[2])
                if what in ("forbidden", "forbidden control"):
                    test.assertIsInstance(error, Refused)
                    test.assertTrue(number in self.spent or by_number[number].kind is Kind.VOID)
                else:
                    test.assertTrue(error is None or isinstance(error, Unroutable))
                    if error is None:
                        body = self.controls.get(ticket, str(ticket).encode())
                        test.assertEqual(by_number[number].body[: len(body)], body)
        self.check_records(by_number)

    def check_records(self, by_number: dict[int, Copy]) -> None:
        """After a lost event, the next numbers are records, of its channel among others, until one is."""
        for next_number, channel in self.full:
            for number in range(next_number, self.next_number()):
                if number in self.spent:
                    break  # returned: its content is not known here, and nobody was there to miss it
                copy = by_number[number]
                if copy.key in (resync_key(channel), resync_key(None)) or copy.kind is Kind.VOID:
                    break
                if copy.kind is Kind.CONTROL:
                    continue  # on no channel, so the record still stands before whatever follows on its own
                self.test.assertEqual(copy.kind, Kind.RESYNC)
            else:
                self.test.fail(f"no record for {channel} from number {next_number}")


def schedules() -> st.SearchStrategy[list[tuple[str, int]]]:
    likely = (*ACTIONS, "event", "event", "open", "send", "send", "send", "take", "take", "take", "answer", "answer")
    return st.lists(st.tuples(st.sampled_from(likely), st.integers(0, 20)), max_size=120)


class WorldTests(SynchronousTestCase):
    @given(schedules())
    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    def test_whatever_the_broker_does_nothing_is_lost_and_nothing_overtakes(self, steps: list[tuple[str, int]]) -> None:
        """Acks, nacks, cuts, refusals in any order: each number ends published, in order, and `low` is true."""
        world = World(self)
        for action, choice in steps:
            world.step(action, choice)
        world.settle()
        world.check()

    def test_the_schedules_reach_what_they_are_for(self) -> None:
        """The simulated broker does refuse, nack, cut, return and find the backlog full."""
        reached: set[str] = set()
        for steps in busy_schedules():
            world = World(self)
            for action, choice in steps:
                world.step(action, choice)
            world.settle()
            world.check()
            reached |= {type(one.error).__name__ for one in world.settled.values()}
            reached |= {copy.kind.value for copy in world.log} | ({"full"} if world.full else set())
        wanted = {"NoneType", "Refused", "Unroutable", "Expired", "event", "control", "void", "resync", "full"}
        self.assertEqual(wanted - reached, set())


def busy_schedules() -> Iterator[list[tuple[str, int]]]:
    import random

    for seed in range(200):
        choose = random.Random(seed)
        yield [(choose.choice(ACTIONS), choose.randrange(21)) for _ in range(200)]
