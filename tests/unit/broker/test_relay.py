"""An outbox's rows on their way: numbers from outside, retries, refusals and returns."""

from __future__ import annotations

import random
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.backlog import Copy
from livepush.broker.envelope import MAX_NUMBER, Kind, Stamp
from livepush.broker.names import VOID_KEY
from livepush.broker.relay import OPENINGS, Relay, RelayBounds, Row

TS = 1_732_250_000_123


def make_row(number: int, size: int = 10, void: bool = False) -> Row:
    return Row(number, "event.orders.lock", b"x" * size, "orders", TS + number, void)


def make_relay(numbers: Iterable[int] = (), generation: int = 1, **bounds: float) -> Relay:
    """One that holds the lease and has an open channel."""
    relay = Relay(RelayBounds(**bounds))  # type: ignore[arg-type]
    relay.begin("outbox-1", generation)
    relay.load(map(make_row, numbers))
    relay.opened()
    return relay


def stamps(copies: list[Copy]) -> list[Stamp]:
    return [copy.stamp for copy in copies if copy.stamp is not None]


def numbers(copies: list[Copy]) -> list[int]:
    return [stamp.number for stamp in stamps(copies)]


class NumberTests(SynchronousTestCase):
    def test_the_numbers_are_the_rows(self) -> None:
        """Rows go out under the numbers that the database gave them, with their own times, in order."""
        copies = make_relay([7, 8, 11]).copies(0)
        self.assertEqual(numbers(copies), [7, 8, 11])
        self.assertEqual([copy.ts for copy in copies], [TS + 7, TS + 8, TS + 11])
        self.assertEqual({copy.kind for copy in copies}, {Kind.EVENT})
        self.assertEqual({stamp.publisher for stamp in stamps(copies)}, {"outbox-1"})

    def test_low_is_the_lowest_undeleted(self) -> None:
        """A confirm alone does not raise it: a successor would read the row and send it again."""
        relay = make_relay([7, 8])
        self.assertEqual([stamp.low for stamp in stamps(relay.copies(0))], [7, 7])
        relay.confirmed(1, False)
        self.assertEqual(relay.low, 7)
        relay.forget(relay.take_done())
        self.assertEqual(relay.low, 8)
        relay.load([make_row(9)])
        self.assertEqual([stamp.low for stamp in stamps(relay.copies(0))], [8])
        relay.confirmed(0, True)
        relay.forget(relay.take_done())
        self.assertEqual((relay.low, len(relay), relay.bytes), (10, 0, 0))

    def test_no_two_copies_are_alike(self) -> None:
        """`sending` grows with each opening of a channel, and a successor's is above all of its predecessor's."""
        first, second = make_relay([7], generation=1), make_relay([7], generation=2)
        sendings = [stamps(first.copies(0))[0].sending]
        first.opened()
        sendings.append(stamps(first.copies(0))[0].sending)
        sendings.append(stamps(second.copies(0))[0].sending)
        self.assertEqual(sendings, sorted(set(sendings)))
        self.assertEqual(2**39 * OPENINGS - 1, MAX_NUMBER)

    def test_a_second_tenure(self) -> None:
        """A relay that lost the lease and got it again knows nothing of before; late answers are nobody's."""
        relay = make_relay([7, 8])
        relay.copies(0)
        relay.begin("", 0)
        self.assertEqual((len(relay), relay.copies(0), relay.room), (0, [], relay.bounds.messages))
        relay.begin("outbox-1", 3)
        relay.load([make_row(8)])
        self.assertFalse(relay.confirmed(2, True))
        self.assertEqual(numbers(relay.copies(0)), [8])
        relay.confirmed(3, False)
        self.assertEqual(relay.take_done(), [8])


class RetryTests(SynchronousTestCase):
    def test_everything_unconfirmed_again(self) -> None:
        """After the channel's end all that is not confirmed is sent again, in order; what is confirmed is not."""
        relay = make_relay([1, 2, 3, 4])
        relay.copies(0)
        relay.confirmed(2, False)
        relay.lost()
        self.assertEqual((relay.copies(0), relay.sendable), ([], False))
        relay.opened()
        self.assertEqual(numbers(relay.copies(0)), [1, 3, 4])

    def test_first_of_three_nacked(self) -> None:
        """Nothing more goes out on that channel; on the next all three do, in order."""
        relay = make_relay([1, 2, 3])
        relay.copies(0)
        self.assertTrue(relay.nacked(1, False))
        relay.load([make_row(4)])
        self.assertEqual(relay.copies(0), [])
        self.assertFalse(relay.confirmed(3, True))
        relay.opened()
        self.assertEqual(numbers(relay.copies(0)), [1, 2, 3, 4])

    def test_not_deleted_yet(self) -> None:
        """What was confirmed stays to be deleted, whatever happens to channel and database meanwhile."""
        relay = make_relay([1, 2])
        relay.copies(0)
        relay.confirmed(0, True)
        relay.opened()
        self.assertEqual(relay.copies(0), [])
        self.assertEqual([relay.take_done(), relay.take_done()], [[1, 2], [1, 2]])
        relay.forget([1, 2])
        self.assertEqual(relay.take_done(), [])


class RefusalTests(SynchronousTestCase):
    def find_culprit(self, relay: Relay, culprit: int) -> list[int]:
        """Lets the broker refuse one number, until the relay knows which; what was confirmed before."""
        confirmed: list[int] = []
        tags: list[int] = []
        while relay.refused_row is None:
            copies = relay.copies(0)
            self.assertTrue(copies)
            self.assertLess(relay.sending % OPENINGS, 10, "it finds nobody")
            for number in numbers(copies):
                tags.append(number)
                if number == culprit:
                    self.assertTrue(relay.refused("403"))
                    relay.opened()
                    tags = []
                    break
                if len(copies) == 1:
                    relay.confirmed(len(tags), False)
                    confirmed.append(number)
        return confirmed

    def test_the_culprit_waits_for_its_mark(self) -> None:
        """Its number goes out as a void, but not before the database knows; then all others go on."""
        relay = make_relay([1, 2, 3])
        self.assertEqual(self.find_culprit(relay, 2), [1])
        assert relay.refused_row is not None
        self.assertEqual((relay.refused_row.row.number, relay.refused_row.why), (2, "403"))
        self.assertEqual(relay.copies(0), [])
        relay.opened()
        self.assertEqual(relay.copies(0), [])
        relay.voided()
        copies = relay.copies(0)
        self.assertEqual([(copy.kind, copy.key, copy.body) for copy in copies], [(Kind.VOID, VOID_KEY, b"{}")])
        relay.confirmed(1, False)
        self.assertEqual(numbers(relay.copies(0)), [3])
        self.assertEqual(relay.take_done(), [1, 2])

    def test_a_predecessors_void(self) -> None:
        """A row that is marked already goes out as a void from the start."""
        relay = make_relay()
        relay.load([make_row(5, void=True)])
        self.assertEqual([(copy.kind, copy.body) for copy in relay.copies(0)], [(Kind.VOID, b"{}")])

    def test_a_refused_void(self) -> None:
        """Then the broker refuses this publisher, and no row is to blame."""
        relay = make_relay()
        relay.load([make_row(5, void=True)])
        relay.copies(0)
        self.assertFalse(relay.refused("403"))
        self.assertIsNone(relay.refused_row)
        self.assertFalse(relay.refused("403"))
        relay.opened()
        self.assertEqual(numbers(relay.copies(0)), [5])

    def test_bytes_are_counted_through_it(self) -> None:
        """The void's size takes the place of the event's."""
        relay = make_relay()
        relay.load([make_row(1, size=10_000)])
        relay.copies(0)
        relay.refused("406")
        relay.opened()
        relay.voided()
        relay.copies(0)
        relay.confirmed(1, False)
        relay.forget(relay.take_done())
        self.assertEqual((relay.bytes, relay.flying, relay._flight.bytes), (0, 0, 0))


class ReturnTests(SynchronousTestCase):
    def test_it_waits(self) -> None:
        """A copy that nobody kept is tried again each second, alone, and nothing passes it."""
        relay = make_relay([1, 2, 3], flight_messages=2)
        relay.expire(100.0)
        self.assertEqual(numbers(relay.copies(0)), [1, 2])
        relay.returned(1)
        relay.returned(2)
        self.assertFalse(relay.confirmed(2, True))
        self.assertEqual((relay.copies(0), relay.expires), ([], 101.0))
        assert relay.returned_row is not None
        self.assertEqual(relay.returned_row.number, 1)
        relay.expire(100.9)
        self.assertEqual(relay.copies(0), [])
        relay.expire(101.0)
        self.assertEqual(numbers(relay.copies(0)), [1])
        relay.returned(1)
        self.assertFalse(relay.confirmed(3, False))
        self.assertEqual(relay.copies(0), [])
        relay.expire(102.0)
        self.assertEqual(numbers(relay.copies(0)), [1])
        self.assertTrue(relay.confirmed(4, False))
        self.assertIsNone(relay.expires)
        self.assertEqual(numbers(relay.copies(0)), [2, 3])
        self.assertEqual(relay.take_done(), [1])

    def test_one_between(self) -> None:
        """A log that is bound while two copies are under way keeps the later one; the earlier follows."""
        relay = make_relay([1, 2, 3], flight_messages=2)
        relay.copies(0)
        relay.returned(1)
        relay.confirmed(2, True)
        self.assertEqual(relay.take_done(), [2])
        relay.expire(1.0)
        self.assertEqual(numbers(relay.copies(0)), [1])
        relay.confirmed(3, False)
        self.assertEqual(numbers(relay.copies(0)), [3])

    def test_a_new_channel(self) -> None:
        """Ends the pause: the log has just been seen."""
        relay = make_relay([1])
        relay.copies(0)
        relay.returned(1)
        relay.confirmed(1, False)
        relay.opened()
        self.assertIsNone(relay.returned_row)
        self.assertEqual(numbers(relay.copies(0)), [1])


class BoundTests(SynchronousTestCase):
    def test_flight(self) -> None:
        """Messages and bytes in flight are bounded; a row that is larger by itself goes alone."""
        relay = make_relay(range(1, 10), flight_messages=4)
        self.assertEqual(len(relay.copies(0)), 4)
        self.assertEqual((relay.copies(0), relay.flying), ([], 4))
        relay = make_relay(flight_bytes=100)
        relay.load([make_row(1, size=1000), make_row(2)])
        self.assertEqual(numbers(relay.copies(0)), [1])
        relay.confirmed(1, False)
        self.assertEqual(numbers(relay.copies(0)), [2])

    def test_room(self) -> None:
        """Rows are loaded up to a number and up to a size; those that wait for their deletion count."""
        relay = make_relay([1, 2], messages=3)
        self.assertEqual(relay.room, 1)
        relay.copies(0)
        relay.confirmed(0, True)
        self.assertEqual(relay.room, 1)
        relay.forget(relay.take_done())
        self.assertEqual(relay.room, 3)
        relay = make_relay(bytes=100)
        relay.load([make_row(1, size=200)])
        self.assertEqual(relay.room, 0)

    def test_news(self) -> None:
        """There is news once for each answer that changes something."""
        relay = make_relay([1, 2])
        relay.copies(0)
        self.assertFalse(relay.take_news())
        relay.confirmed(1, False)
        self.assertEqual([relay.take_news(), relay.take_news()], [True, False])
        relay.confirmed(1, False)
        self.assertFalse(relay.take_news())
        relay.refused("403")
        self.assertTrue(relay.take_news())


class Table:
    """The database's side, as the specification has it: rows, numbers fenced by a generation, deletions not fenced."""

    def __init__(self) -> None:
        self.rows: dict[int, int | None] = {}
        self.numbered: dict[int, int] = {}
        self.next, self.generation = 1, 0

    def number(self, generation: int, limit: int) -> None:
        if generation != self.generation:
            return
        for key in sorted(key for key, number in self.rows.items() if number is None)[:limit]:
            self.rows[key] = self.next
            self.numbered[self.next] = key
            self.next += 1

    def load(self, after: int, limit: int) -> list[Row]:
        found = sorted((number, key) for key, number in self.rows.items() if number is not None and number > after)
        return [Row(number, f"event.orders.n{key}", b"{}", "orders", TS) for number, key in found[:limit]]

    def delete(self, numbers: list[int]) -> None:
        self.rows = {key: number for key, number in self.rows.items() if number not in numbers}


class ScheduleTests(SynchronousTestCase):
    """Relays that crash, freeze and overlap, over a broker that confirms late and loses channels."""

    def run_schedule(self, seed: int) -> int:
        """One random schedule, then everything heals; how many copies the log had in all."""
        choose = random.Random(seed)
        table, log = Table(), list[Copy]()
        relays: list[tuple[Relay, int]] = []
        flights: dict[int, tuple[int, list[Copy]]] = {}
        generations = hidden = key = 0

        def start() -> None:
            nonlocal generations
            generations += 1
            table.generation = generations
            relays.append((make_relay(generation=generations, flight_messages=3, messages=6), generations))
            relays[-1][0].begin("outbox", generations)

        def send(relay: Relay) -> None:
            tag, flight = flights.get(relay.sending // OPENINGS, (1, []))
            flights[relay.sending // OPENINGS] = (tag, flight + relay.copies(0))

        def answer(relay: Relay) -> None:
            tag, flight = flights.get(relay.sending // OPENINGS, (1, []))
            if not flight:
                return
            fate = choose.random()
            if fate < 0.15:  # the channel is lost with, or without, the copy
                if fate < 0.08:
                    log.append(flight[0])
                flights[relay.sending // OPENINGS] = (1, [])
                relay.opened()
                return
            log.append(flight[0])
            relay.confirmed(tag, False)
            flights[relay.sending // OPENINGS] = (tag + 1, flight[1:])

        def take(relay: Relay, generation: int) -> None:
            table.number(generation, choose.randrange(1, 4))
            if relay.room:
                relay.load(table.load(relay.highest, min(relay.room, choose.randrange(1, 4))))

        def delete(relay: Relay) -> None:
            done = relay.take_done()
            table.delete(done)
            relay.forget(done)

        start()
        for _ in range(60):
            relay, generation = choose.choice(relays)
            match choose.randrange(8):
                case 0 | 1:
                    key += 1
                    if choose.random() < 0.2 and not hidden:
                        hidden = key  # a transaction that commits later than those with higher keys
                    else:
                        table.rows[key] = None
                case 2:
                    if hidden:
                        table.rows[hidden], hidden = None, 0
                case 3:
                    take(relay, generation)
                case 4:
                    send(relay)
                case 5 | 6:
                    answer(relay)
                case 7 if choose.random() < 0.3:  # a crash, or a second one by mistake
                    if choose.random() < 0.5:
                        relays.clear()
                    start()
                    relays = relays[-2:]
                case 7:
                    delete(relay)
        if hidden:
            table.rows[hidden] = None
        relay, generation = relays[-1]
        for _ in range(200):
            take(relay, generation)
            send(relay)
            answer(relay)
            delete(relay)
        self.assertEqual((table.rows, seed), ({}, seed))
        self.check(log, table, seed)
        return len(log)

    def check(self, log: list[Copy], table: Table, seed: int) -> None:
        kept: set[int] = set()
        copies: set[Stamp] = set()
        for copy in log:
            assert copy.stamp is not None
            self.assertNotIn(copy.stamp, copies, seed)
            copies.add(copy.stamp)
            self.assertEqual(copy.key, f"event.orders.n{table.numbered[copy.stamp.number]}", seed)
            self.assertTrue(set(range(1, copy.stamp.low)) <= kept, (seed, copy.stamp, kept))
            kept.add(copy.stamp.number)
        self.assertEqual(kept, set(range(1, table.next)), seed)
        self.assertEqual(sorted(table.numbered.values()), sorted(set(table.numbered.values())), seed)

    def test_schedules(self) -> None:
        """Every row is in the log under one number, each number is one row's, and what is below `low` stands before."""
        copies = sum(self.run_schedule(seed) for seed in range(1000))
        self.assertGreater(copies, 10_000)
