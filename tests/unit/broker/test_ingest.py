"""Tests of `livepush.broker.ingest`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Event, Kind, Message, Stamp
from livepush.broker.ingest import Hole, Ingest, IngestSettings, Item
from livepush.broker.logindex import LogIndex, check_stamp

Told = tuple[str, int | None, int]
"""What was released ("p-3", or "hole p-3" for one in front of it), its offset, and the offset reached then."""


class Intake:
    """What stands before an ingest: notes records in the log index, asks whether a number is new, keeps releases."""

    def __init__(self, settings: IngestSettings | None = None) -> None:
        self.log = LogIndex()
        self.ingest = Ingest(self.log, self.release, settings)
        self.told: list[Told] = []
        self.located: list[tuple[str, int]] = []

    def release(self, item: Item, offset: int | None) -> None:
        assert item.stamp is not None
        name = f"hole {item.stamp.id}" if isinstance(item, Hole) else item.stamp.id
        self.told.append((name, offset, self.log.reached.offset))

    def take(self, stamp: Stamp, offset: int | None, now: float, size: int = 100, poison: bool = False) -> None:
        if offset is not None:
            self.log.read(offset, check_stamp(stamp))
        if self.ingest.is_new(stamp):
            message = Message(Kind.EVENT, stamp, 0, Event("orders", "lock", {}), size)
            self.ingest.receive(stamp, Hole(stamp) if poison else message, offset, now)
        elif self.ingest.repeat(stamp, offset, now) and offset is not None:
            self.located.append((stamp.id, offset))


class IngestTests(SynchronousTestCase):
    """One publisher and several: dedupe, order, holes, bases, bounds."""

    def setUp(self) -> None:
        self.make()

    def make(self, **bounds: Any) -> None:
        self.intake = Intake(IngestSettings(**bounds))
        self.ingest, self.now = self.intake.ingest, 0.0

    def queued(self, number: int, publisher: str = "p", **more: Any) -> list[str]:
        """What is released when the queue brings a number."""
        return self.took(Stamp(publisher, number, 1, 1), None, **more)

    def logged(self, number: int, low: int, offset: int, publisher: str = "p", **more: Any) -> list[str]:
        """What is released when the log reader meets it."""
        return self.took(Stamp(publisher, number, low, 1), offset, **more)

    def took(self, stamp: Stamp, offset: int | None, **more: Any) -> list[str]:
        before = len(self.intake.told)
        self.intake.take(stamp, offset, self.now, **more)
        return [name for name, _, _ in self.intake.told[before:]]

    def tick(self, now: float) -> list[str]:
        before, self.now = len(self.intake.told), now
        self.ingest.tick(now)
        return [name for name, _, _ in self.intake.told[before:]]

    # -- one source

    def test_numbers_in_order_are_released_at_once(self) -> None:
        """Nothing waits that need not, out of either source."""
        self.assertEqual([self.queued(1), self.queued(2), self.logged(3, 3, 7)], [["p-1"], ["p-2"], ["p-3"]])

    def test_a_number_that_comes_again_is_dropped(self) -> None:
        """A publisher's retry is harmless."""
        self.queued(1)
        self.queued(2)
        self.assertEqual([self.queued(1), self.queued(2)], [[], []])
        self.assertEqual(self.ingest.counters.duplicates, 2)

    def test_a_held_number_that_comes_again_is_dropped(self) -> None:
        """A retry behind a hole counts once."""
        self.queued(1)
        self.assertEqual([self.queued(3), self.queued(3)], [[], []])
        self.assertEqual(self.queued(2), ["p-2", "p-3"])
        self.assertEqual((self.ingest.counters.duplicates, self.ingest.held), (1, 0))

    def test_a_later_number_waits_for_the_missing_ones(self) -> None:
        """A publisher's order is kept."""
        self.queued(1)
        self.assertEqual([self.queued(4), self.queued(3)], [[], []])
        self.assertEqual(self.queued(2), ["p-2", "p-3", "p-4"])

    def test_only_that_publisher_waits(self) -> None:
        """Another publisher's events go on."""
        self.queued(1)
        self.queued(3)
        self.assertEqual(self.queued(1, "q"), ["q-1"])

    # -- two sources

    def test_the_log_supplies_what_the_queue_lost(self) -> None:
        """No hole, and each with the offset that is known when it is released."""
        self.queued(1)
        self.queued(4)
        self.logged(1, 1, 10)
        self.logged(2, 2, 11)
        self.logged(3, 2, 13)
        self.logged(4, 3, 14)
        told = [("p-1", None, -1), ("p-2", 11, 11), ("p-3", 13, 13), ("p-4", None, 13)]
        self.assertEqual(self.intake.told, told)
        self.assertEqual(self.intake.located, [("p-1", 10), ("p-4", 14)])

    def test_the_queue_may_be_behind_the_log(self) -> None:
        """Then its copies are the ones that come again."""
        self.assertEqual([self.logged(1, 1, 5), self.queued(1), self.queued(2)], [["p-1"], [], ["p-2"]])
        self.assertEqual(self.intake.located, [])

    def test_a_held_record_keeps_the_position_back(self) -> None:
        """What is released before it vouches for nothing behind it."""
        self.logged(1, 1, 10)
        self.logged(3, 1, 11)
        self.logged(1, 1, 12, "q")
        self.assertEqual(self.intake.told[-1], ("q-1", 12, 10))
        self.logged(2, 1, 13)
        self.assertEqual(self.intake.told[-2:], [("p-2", 13, 10), ("p-3", 11, 13)])

    def test_a_held_number_out_of_the_queue_keeps_back_once_the_log_shows_it(self) -> None:
        """Its offset is known when it is released, and is the first one it was seen at."""
        self.logged(1, 1, 10)
        self.queued(3)
        self.logged(3, 1, 12)
        self.logged(3, 1, 14)
        self.logged(1, 1, 15, "q")
        self.logged(2, 1, 16)
        told = [("q-1", 15, 10), ("p-2", 16, 10), ("p-3", 12, 16)]
        self.assertEqual((self.intake.told[1:], self.intake.located), (told, []))

    # -- what `low` proves

    def test_low_proves_a_hole(self) -> None:
        """All below it stand in the log before it: what was not met is not there, and nobody waits for it."""
        self.logged(1, 1, 10)
        self.queued(3)
        self.assertEqual(self.queued(4), [])
        self.assertEqual(self.logged(4, 3, 12), ["hole p-3", "p-3", "p-4"])
        self.assertEqual(self.intake.told[1:], [("hole p-3", None, 10), ("p-3", None, 10), ("p-4", 12, 12)])
        self.assertEqual(self.ingest.counters.missing, 1)

    def test_low_proves_only_what_is_below_it(self) -> None:
        """The rest may be on its way."""
        self.logged(1, 1, 10)
        self.assertEqual([self.logged(5, 4, 12), self.logged(4, 4, 13)], [[], ["hole p-4", "p-4", "p-5"]])

    def test_a_copy_that_comes_again_proves_as_much(self) -> None:
        """A retry carries a `low` of its own time."""
        self.logged(1, 1, 10)
        self.logged(3, 1, 11)
        self.assertEqual(self.logged(3, 3, 12), ["hole p-3", "p-3"])

    def test_the_queue_proves_nothing(self) -> None:
        """It may have lost what the log has, and the reader is only a moment behind."""
        self.logged(1, 1, 10)
        self.assertEqual(self.took(Stamp("p", 3, 3, 1), None), [])
        self.assertEqual(self.logged(2, 2, 11), ["p-2", "p-3"])

    # -- a publisher never seen

    def test_number_one_begins(self) -> None:
        """Out of the queue it is released at once: numbers begin with 1."""
        self.assertEqual(self.queued(1), ["p-1"])

    def test_any_other_number_out_of_the_queue_waits_for_the_reader(self) -> None:
        """A publisher of a few events that lost its first ones to drop-head is not taken for an old one."""
        self.assertEqual([self.queued(3), self.queued(2)], [[], []])
        self.assertEqual(self.logged(1, 1, 10), ["p-1", "p-2", "p-3"])

    def test_number_one_may_come_behind_them(self) -> None:
        """It tells as much as the reader would."""
        self.queued(2)
        self.assertEqual(self.queued(1), ["p-1", "p-2"])

    def test_the_base_is_low(self) -> None:
        """What was confirmed before stood in the log before this process read it; what was not may still come."""
        self.assertEqual(self.logged(17, 16, 10), [])
        self.assertEqual(self.logged(16, 16, 11), ["p-16", "p-17"])
        self.assertEqual(self.queued(15), [])

    def test_the_base_frees_what_waited_for_it(self) -> None:
        """A process that starts late: its queue was bound in the middle of a publisher's life."""
        for number in (15, 18, 17):
            self.queued(number)
        self.assertEqual(self.logged(17, 17, 10), ["p-17", "p-18"])
        self.assertEqual((self.ingest.held, self.intake.log.reached.offset), (0, 10))

    def test_a_base_that_never_comes(self) -> None:
        """A log that is not bound: after 10 s it is a hole, and what waited is released."""
        self.queued(7)
        self.assertEqual([self.tick(9.9), self.tick(10)], [[], ["hole p-7", "p-7"]])
        self.assertEqual(self.queued(8), ["p-8"])

    # -- giving up

    def test_a_hole_is_given_up_after_its_time(self) -> None:
        """10 s: a hole for each gap, then what follows, in order."""
        self.queued(1)
        for number in (7, 4, 5):
            self.queued(number)
        self.assertEqual(self.tick(9.9), [])
        self.assertEqual(self.tick(10), ["hole p-4", "p-4", "p-5", "hole p-7", "p-7"])
        self.assertEqual((self.ingest.counters.missing, self.queued(8)), (3, ["p-8"]))

    def test_a_hole_has_the_place_of_the_record_behind_it(self) -> None:
        """Whoever has got less of the log than that is told; the hole itself vouches for less."""
        self.logged(1, 1, 10)
        self.logged(3, 1, 12)
        self.tick(10)
        self.assertEqual(self.intake.told[1:], [("hole p-3", 12, 10), ("p-3", 12, 12)])

    def test_numbers_that_were_given_up_do_not_come_any_more(self) -> None:
        """The hole has spoken for them, and they would be out of order."""
        self.queued(1)
        self.queued(3)
        self.tick(10)
        self.assertEqual([self.queued(2), self.logged(2, 2, 20), self.queued(4)], [[], [], ["p-4"]])

    def test_a_partly_filled_hole_keeps_its_time(self) -> None:
        """Nobody waits longer than 10 s, however often something else comes."""
        self.queued(1)
        self.queued(5)
        self.now = 9
        self.queued(2)
        self.queued(4)
        self.assertEqual(self.tick(10), ["hole p-4", "p-4", "p-5"])

    def test_others_holes_go_on_waiting(self) -> None:
        """A hole is its publisher's: what can still come is not given up for another's sake."""
        for publisher in "pq":
            self.queued(1, publisher)
        self.queued(3, "p")
        self.now = 5
        self.queued(3, "q")
        self.assertEqual(self.tick(10), ["hole p-3", "p-3"])
        self.assertEqual(self.queued(2, "q"), ["q-2", "q-3"])

    def test_too_many_held_messages_end_the_waiting(self) -> None:
        """At the bound the holes are given up at once, and nothing is dropped."""
        self.make(held_messages=3)
        self.queued(1)
        self.assertEqual([self.queued(number) for number in (3, 4, 5)], [[], [], []])
        self.assertEqual(self.queued(6), ["hole p-3", "p-3", "p-4", "p-5", "p-6"])
        self.assertEqual((self.ingest.held, self.queued(7)), (0, ["p-7"]))

    def test_too_many_held_bytes_end_the_waiting(self) -> None:
        """The same bound in bytes, and it counts anew afterwards."""
        self.make(held_bytes=1000)
        for first in (1, 5):
            self.queued(first)
            self.assertEqual(self.queued(first + 2, size=600), [])
            name = f"p-{first + 2}"
            self.assertEqual(self.queued(first + 3, size=401), [f"hole {name}", name, f"p-{first + 3}"])

    def test_a_filled_hole_gives_its_bytes_back(self) -> None:
        """What was held for a moment does not count for ever."""
        self.make(held_bytes=1000)
        self.queued(1)
        for number in range(2, 40, 2):
            self.queued(number + 1, size=900)
            self.assertEqual(self.queued(number), [f"p-{number}", f"p-{number + 1}"])

    def test_many_held_ones_are_freed_in_no_time(self) -> None:
        """The queue is far ahead of the reader, and each record fills one place."""
        self.make(held_messages=100_000)
        self.queued(1)
        for number in range(10_000, 1, -1):
            self.queued(2 * number)
        for number in range(3, 20_000, 2):
            self.logged(number, 2, number)
        self.assertEqual((self.ingest.held, len(self.intake.told)), (19_998, 1))
        self.assertEqual(len(self.logged(2, 2, 20_000)), 19_999)

    def test_an_unreadable_message_is_a_hole_in_its_place(self) -> None:
        """Its number is spent: what follows does not wait; it has a place in the log like any other."""
        self.queued(1)
        self.assertEqual(self.queued(2, poison=True), ["hole p-2"])
        self.assertEqual([self.logged(4, 2, 9, poison=True), self.queued(3)], [[], ["p-3", "hole p-4"]])
        self.assertEqual(self.intake.told[-1], ("hole p-4", 9, 9))

    # -- the table of publishers

    def test_start_over(self) -> None:
        """Nobody is known, and nothing is held."""
        self.queued(1)
        self.queued(3)
        self.ingest.clear()
        self.intake.log.clear()
        self.assertEqual((self.ingest.publishers, self.ingest.held, self.tick(100)), (0, 0, []))
        self.assertEqual(self.logged(3, 3, 0), ["p-3"])

    def test_a_silent_publisher_is_forgotten(self) -> None:
        """The table does not grow with every worker that ever was."""
        self.make(publisher_seconds=60)
        self.queued(1, "p")
        self.now = 30
        self.queued(1, "q")
        self.tick(61)
        self.assertEqual((self.ingest.publishers, self.ingest.counters.forgotten), (1, 1))
        self.assertEqual([self.queued(2, "p"), self.queued(2, "q")], [[], ["q-2"]])

    def test_one_that_is_heard_of_is_not_forgotten(self) -> None:
        """Also when all that comes was there before."""
        self.make(publisher_seconds=60)
        self.queued(1)
        self.now = 50
        self.logged(1, 1, 3)
        self.tick(61)
        self.assertEqual(self.queued(2), ["p-2"])

    def test_a_publisher_with_held_messages_is_not_forgotten(self) -> None:
        """Even when the settings are odd."""
        self.make(publisher_seconds=5)
        self.queued(1)
        self.queued(3)
        self.assertEqual(self.tick(6), [])
        self.assertEqual(self.queued(2), ["p-2", "p-3"])

    def test_publishers_are_bounded(self) -> None:
        """Over the bound those that were silent for longest are forgotten, after what they hold was released."""
        self.make(publishers=20)
        self.queued(1, "old")
        self.queued(3, "old")
        for index in range(19):
            self.now = 1.0 + index
            self.queued(1, f"p{index}")
        self.now = 9.5
        self.assertEqual(self.queued(1, "new"), ["hole old-3", "old-3", "new-1"])
        self.assertEqual((self.ingest.publishers, self.ingest.counters.forgotten), (18, 3))
        self.assertEqual(self.queued(2, "p18"), ["p18-2"])

    def test_absurd_numbers_harm_only_their_publisher(self) -> None:
        """The largest number there can be is a number like any other."""
        self.queued(1, "p")
        self.queued(1, "q")
        self.assertEqual(self.queued(2**63 - 1, "p"), [])
        self.assertEqual(self.queued(2, "q"), ["q-2"])
        last = f"p-{2**63 - 1}"
        self.assertEqual(self.tick(10), [f"hole {last}", last])
        self.assertEqual([self.queued(2, "p"), self.queued(3, "q")], [[], ["q-3"]])

    def test_settings_name_what_is_wrong(self) -> None:
        """A bad bound is refused with its name and value."""
        for name, value in (("hole_seconds", 0), ("held_messages", -1), ("held_bytes", "16"), ("publishers", True)):
            bad: dict[str, Any] = {name: value}
            with self.assertRaisesRegex(ValueError, f"{name} is {value!r}"):
                IngestSettings(**bad)


# -- against a reference, and in a world -------------------------------------------------------------------------------


@dataclass
class _Known:
    contiguous: int | None = None
    settled: int = 0
    held: dict[int, list[Any]] = field(default_factory=dict)  # number: since, offset
    turn: int = 0  # when it began to hold something


class _Reference:
    """The rules as the specification words them, with lists that are searched anew each time."""

    def __init__(self) -> None:
        self.known: dict[str, _Known] = {}
        self.read: list[int] = []
        self.told: list[Told] = []
        self.located: list[tuple[str, int]] = []
        self.turns = 0

    def reached(self) -> int:
        kept = [held[1] for known in self.known.values() for held in known.held.values() if held[1] is not None]
        return max((offset for offset in self.read if not kept or offset < min(kept)), default=-1)

    def take(self, stamp: Stamp, offset: int | None, now: float) -> None:
        known = self.known.setdefault(stamp.publisher, _Known())
        if offset is not None:
            self.read.append(offset)
            known.settled = max(known.settled, stamp.low - 1)
            if known.contiguous is None:
                known.contiguous = stamp.low - 1
                known.held = {number: held for number, held in known.held.items() if number >= stamp.low}
        elif known.contiguous is None and stamp.number == 1:
            known.contiguous = 0
        if stamp.number in known.held:
            if known.held[stamp.number][1] is None:
                known.held[stamp.number][1] = offset
        elif known.contiguous is not None and stamp.number <= known.contiguous:
            if offset is not None:
                self.located.append((stamp.id, offset))
        else:
            self.turns += 1
            known.turn = known.turn if known.held else self.turns
            known.held[stamp.number] = [now, offset]
        self.resolve(stamp.publisher, known, now)

    def resolve(self, publisher: str, known: _Known, now: float) -> None:
        while known.held:
            number = min(known.held)
            _, offset = known.held[number]
            if known.contiguous is None or number > known.contiguous + 1:
                gone = known.contiguous is not None and known.settled >= number - 1
                if not gone and now < min(since for since, _ in known.held.values()) + 10:
                    return
                self.told.append((f"hole {publisher}-{number}", offset, self.reached()))
            del known.held[number]
            known.contiguous = number
            self.told.append((f"{publisher}-{number}", offset, self.reached()))

    def tick(self, now: float) -> None:
        for publisher in sorted(self.known, key=lambda name: self.known[name].turn):
            self.resolve(publisher, self.known[publisher], now)


copies = st.tuples(st.sampled_from("pq"), st.integers(1, 9), st.integers(0, 8), st.integers(0, 2))


class IngestPropertyTests(SynchronousTestCase):
    """Any copies in any order."""

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.one_of(copies, st.integers(1, 6)), max_size=50))
    def test_as_the_specification_words_it(self, schedule: list[tuple[str, int, int, int] | int]) -> None:
        """Releases, holes, offsets, positions and late offsets are those of a reference that is short and slow."""
        intake, reference, now, offset = Intake(), _Reference(), 0.0, 0
        for step in schedule:
            if isinstance(step, int):
                now += step
                intake.ingest.tick(now)
                reference.tick(now)
            else:
                publisher, number, below, gap = step
                stamp, at = Stamp(publisher, number, max(1, number - below), 1), None
                if gap:
                    offset += gap
                    at = offset
                intake.take(stamp, at, now)
                reference.take(stamp, at, now)
            self.assertEqual((intake.told, intake.located), (reference.told, reference.located))
            self.assertEqual(intake.log.reached.offset, reference.reached())


class _World:
    """Publishers, a log that keeps everything, a queue that loses; and what must be true of each release."""

    def __init__(self, held_messages: int) -> None:
        self.intake = Intake(IngestSettings(held_messages=held_messages))
        self.now, self.offset = 0.0, 0
        self.sent = dict.fromkeys("pq", 0)
        self.log: list[tuple[Stamp, int]] = []
        self.queue: list[Stamp] = []
        self.unlogged: set[str] = set()

    def send(self, publisher: str, queued: bool, logged: bool) -> None:
        self.sent[publisher] += 1
        stamp = Stamp(publisher, self.sent[publisher], self.sent[publisher], 1)
        self.offset += 1
        if logged:
            self.log.append((stamp, self.offset))
        else:
            self.unlogged.add(stamp.id)
        if queued:
            self.queue.append(stamp)

    def run(self, what: str, publisher: str, count: int) -> None:
        for _ in range(count):
            if what in ("send", "drop", "unlogged"):
                self.send(publisher, what != "drop", what != "unlogged")
            elif what == "queue" and self.queue:
                self.intake.take(self.queue.pop(0), None, self.now)
            elif what == "log" and self.log:
                stamp, offset = self.log.pop(0)
                self.intake.take(stamp, offset, self.now)
        if what == "wait":
            self.now += count
            self.intake.ingest.tick(self.now)

    def finish(self) -> None:
        """The faults stop: everybody sends one more, all of it is read, and 10 s go by."""
        for publisher in self.sent:
            self.send(publisher, True, True)
        self.run("queue", "", len(self.queue))
        self.run("log", "", len(self.log))
        self.run("wait", "", 10)


steps = st.tuples(
    st.sampled_from(["send", "send", "drop", "unlogged", "queue", "log", "log", "wait"]),
    st.sampled_from("pq"),
    st.integers(1, 5),
)


class IngestWorldTests(SynchronousTestCase):
    """Any interleaving of two publishers, a queue that drops, and a log."""

    @settings(max_examples=200, deadline=None)
    @given(st.lists(steps, max_size=40), st.sampled_from([2, 1000]))
    def test_all_of_it_once_in_order(self, schedule: list[tuple[str, str, int]], held_messages: int) -> None:
        """What the log has is released once, in order; a number that nobody had is a hole in its place, and no other
        is, unless the bound of held messages or the 10 s are over."""
        world = _World(held_messages)
        for step in schedule:
            world.run(*step)
        world.finish()
        told = [name for name, _, _ in world.intake.told]
        self.assertEqual(world.intake.ingest.held, 0)
        for publisher, last in world.sent.items():
            own = [name for name in told if name.removeprefix("hole ").startswith(publisher)]
            numbers = [int(name.rpartition("-")[2]) for name in own if not name.startswith("hole")]
            self.assertEqual(numbers, sorted(set(numbers)))
            self.assertEqual(numbers[-1], last)
            before = 0
            for number in numbers:
                if before and number != before + 1:  # where nothing was before, it is a base
                    self.assertEqual(own[own.index(f"{publisher}-{number}") - 1], f"hole {publisher}-{number}")
                before = number
            patient = held_messages == 1000 and not any(step[0] == "wait" for step in schedule)
            if patient:
                missing = {f"{publisher}-{n}" for n in range(1, last)} - set(own)
                self.assertLessEqual(missing, world.unlogged)
        self.assertEqual(world.intake.log.reached.offset, world.offset)
