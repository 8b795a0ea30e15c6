"""Tests of `livepush.broker.queueingest`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Event, Kind, Message, Stamp
from livepush.broker.queueingest import Hole, Ingest, IngestSettings, Release


def make_message(number: int, publisher: str = "p", low: int | None = None, size: int = 100) -> Message:
    stamp = Stamp(publisher, number, number if low is None else low, 1)
    return Message(Kind.EVENT, stamp, 0, Event("orders", "lock", {}), size)


def numbers_of(releases: Sequence[Release]) -> list[int | str]:
    """What was released, as numbers; a hole is "hole"."""
    return ["hole" if isinstance(release, Hole) else _number(release) for release in releases]


def _number(message: Message) -> int:
    assert message.stamp is not None
    return message.stamp.number


class IngestTests(SynchronousTestCase):
    """One publisher and several: dedupe, order, holes, bounds."""

    def setUp(self) -> None:
        self.ingest = Ingest()

    def receive(
        self, number: int, publisher: str = "p", now: float = 0.0, low: int | None = None, size: int = 100
    ) -> list[int | str]:
        message = make_message(number, publisher, low, size)
        assert message.stamp is not None
        return numbers_of(self.ingest.receive(message.stamp, message, now))

    def test_numbers_in_order_are_released_at_once(self) -> None:
        """Nothing waits that need not."""
        self.assertEqual([self.receive(number) for number in (1, 2, 3)], [[1], [2], [3]])

    def test_the_message_itself_is_released(self) -> None:
        """What comes out is what went in."""
        message = make_message(1)
        assert message.stamp is not None
        (released,) = self.ingest.receive(message.stamp, message, 0.0)
        self.assertIs(released, message)

    def test_a_number_that_comes_again_is_dropped(self) -> None:
        """A publisher's retry is harmless."""
        self.receive(1)
        self.receive(2)
        self.assertEqual([self.receive(1), self.receive(2)], [[], []])
        self.assertEqual(self.ingest.counters.duplicates, 2)

    def test_a_held_number_that_comes_again_is_dropped(self) -> None:
        """A retry behind a hole counts once."""
        self.receive(1)
        self.assertEqual([self.receive(3), self.receive(3)], [[], []])
        self.assertEqual(self.receive(2), [2, 3])
        self.assertEqual(self.ingest.counters.duplicates, 1)

    def test_a_later_number_waits_for_the_missing_ones(self) -> None:
        """A publisher's order is kept."""
        self.receive(1)
        self.assertEqual([self.receive(4), self.receive(3), self.receive(2), self.receive(5)], [[], [], [2, 3, 4], [5]])
        self.assertEqual(self.ingest.held, 0)

    def test_only_that_publisher_waits(self) -> None:
        """Another publisher's events go on."""
        self.receive(1, "p")
        self.receive(3, "p")
        self.assertEqual(self.receive(1, "q"), [1])

    def test_the_first_number_of_an_unknown_publisher_is_its_base(self) -> None:
        """A process that starts later does not wait for what was before it."""
        self.assertEqual([self.receive(17), self.receive(18), self.receive(16)], [[17], [18], []])

    def test_a_hole_is_given_up_after_its_time(self) -> None:
        """10 s: one hole for all that is missing, then what follows, in order."""
        self.receive(1, now=0)
        for number in (7, 4, 5):
            self.receive(number, now=1)
        self.assertEqual(numbers_of(self.ingest.tick(10.9)), [])
        releases = self.ingest.tick(11.0)
        self.assertEqual(numbers_of(releases), ["hole", 4, 5, 7])
        self.assertEqual(releases[0], Hole(3))
        self.assertEqual(self.receive(8), [8])

    def test_numbers_that_were_given_up_do_not_come_any_more(self) -> None:
        """The hole has spoken for them, and they would be out of order."""
        self.receive(1)
        self.receive(3)
        self.ingest.tick(10)
        self.assertEqual([self.receive(2), self.receive(4)], [[], [4]])

    def test_a_partly_filled_hole_keeps_its_time(self) -> None:
        """Nobody waits longer than 10 s, however often something else comes."""
        self.receive(1, now=0)
        self.receive(5, now=0)
        self.receive(2, now=9)
        self.receive(4, now=9)
        self.assertEqual(numbers_of(self.ingest.tick(10)), ["hole", 4, 5])

    def test_one_hole_speaks_for_all_publishers(self) -> None:
        """Browsers reload once and not once a publisher."""
        for publisher in "pq":
            self.receive(1, publisher)
        self.receive(3, "p", now=0)
        self.receive(3, "q", now=5)
        self.assertEqual(numbers_of(self.ingest.tick(10)), ["hole", 3, 3])
        self.assertEqual(numbers_of(self.ingest.tick(20)), [])

    def test_too_many_held_messages_end_the_waiting(self) -> None:
        """At the bound the hole is given up at once, and nothing is dropped."""
        self.ingest = Ingest(IngestSettings(held_messages=3))
        self.receive(1)
        self.assertEqual([self.receive(number) for number in (3, 4, 5)], [[], [], []])
        self.assertEqual(self.receive(6), ["hole", 3, 4, 5, 6])
        self.assertEqual((self.ingest.held, self.receive(7)), (0, [7]))

    def test_too_many_held_bytes_end_the_waiting(self) -> None:
        """The same bound in bytes, and it counts anew afterwards."""
        self.ingest = Ingest(IngestSettings(held_bytes=1000))
        for first in (1, 5):
            self.receive(first)
            self.assertEqual(self.receive(first + 2, size=600), [])
            self.assertEqual(self.receive(first + 3, size=401), ["hole", first + 2, first + 3])

    def test_a_filled_hole_gives_its_bytes_back(self) -> None:
        """What was held for a moment does not count for ever."""
        self.ingest = Ingest(IngestSettings(held_bytes=1000))
        self.receive(1)
        for number in range(2, 40, 2):
            self.receive(number + 1, size=900)
            self.assertEqual(self.receive(number), [number, number + 1])

    def test_an_unreadable_message_is_a_hole_in_its_place(self) -> None:
        """Its number is spent: what follows does not wait."""
        self.receive(1)
        self.assertEqual(numbers_of(self.ingest.receive(Stamp("p", 2, 2, 1), Hole(1), 0.0)), ["hole"])
        self.assertEqual(self.receive(3), [3])
        self.assertEqual(numbers_of(self.ingest.receive(Stamp("p", 5, 5, 1), Hole(1), 0.0)), [])
        self.assertEqual(self.receive(6), [])
        self.assertEqual(self.receive(4), [4, "hole", 6])

    def test_after_a_reconnect_the_next_number_is_taken(self) -> None:
        """Nobody waits for what was lost with the old queue; `resync` has been told."""
        self.receive(5)
        self.assertEqual(numbers_of(self.ingest.reattached()), [])
        self.assertEqual([self.receive(9), self.receive(11)], [[9], []])
        self.assertEqual(self.receive(10), [10, 11])

    def test_after_a_reconnect_known_numbers_stay_duplicates(self) -> None:
        """Publishers send again what was not confirmed when the broker went."""
        self.receive(5)
        self.ingest.reattached()
        self.assertEqual([self.receive(4), self.receive(5), self.receive(6), self.receive(6)], [[], [], [6], []])

    def test_after_a_reconnect_each_publisher_skips_once(self) -> None:
        """Only the first number is taken whatever it is."""
        self.receive(1, "p")
        self.receive(1, "q")
        self.ingest.reattached()
        self.assertEqual([self.receive(4, "p"), self.receive(6, "p"), self.receive(3, "q")], [[4], [], [3]])

    def test_held_messages_are_released_at_a_reconnect(self) -> None:
        """In order, without a hole of their own, and what they waited for is not taken any more."""
        self.receive(1)
        for number in (6, 4):
            self.receive(number)
        self.assertEqual(numbers_of(self.ingest.reattached()), [4, 6])
        self.assertEqual([self.receive(3), self.receive(5), self.receive(7)], [[], [], [7]])
        self.assertEqual(numbers_of(self.ingest.tick(100)), [])

    def test_two_reconnects_without_a_message_between(self) -> None:
        """What was known stays known."""
        self.receive(5)
        self.ingest.reattached()
        self.ingest.reattached()
        self.assertEqual([self.receive(5), self.receive(7)], [[], [7]])

    def test_a_nacked_number_that_comes_after_the_base_is_told(self) -> None:
        """It can't be released in order any more, and is not lost silently."""
        self.assertEqual(self.receive(8, low=6), [8])
        self.assertEqual([self.receive(6, low=6), self.receive(7, low=6)], [["hole"], []])
        self.assertEqual(self.receive(9, low=6), [9])

    def test_a_nacked_number_that_comes_after_a_reconnect_is_told(self) -> None:
        """The same where the publisher was known; what it had before stays a duplicate."""
        self.receive(5)
        self.ingest.reattached()
        self.assertEqual(self.receive(8, low=4), [8])
        self.assertEqual([self.receive(5, low=5), self.receive(6, low=6), self.receive(7)], [[], ["hole"], []])

    def test_a_silent_publisher_is_forgotten(self) -> None:
        """The table does not grow with every worker that ever was."""
        self.ingest = Ingest(IngestSettings(publisher_seconds=60))
        self.receive(5, "p", now=0)
        self.receive(5, "q", now=30)
        self.ingest.tick(61)
        self.assertEqual(self.ingest.publishers, 1)
        self.assertEqual([self.receive(4, "p", now=62), self.receive(4, "q", now=62)], [[4], []])

    def test_a_publisher_with_held_messages_is_not_forgotten(self) -> None:
        """Even when the settings are odd."""
        self.ingest = Ingest(IngestSettings(publisher_seconds=5))
        self.receive(1, now=0)
        self.receive(3, now=0)
        self.assertEqual(numbers_of(self.ingest.tick(6)), [])
        self.assertEqual(self.receive(2, now=7), [2, 3])

    def test_publishers_are_bounded(self) -> None:
        """Over the bound those that were silent for longest are forgotten, after what they hold was released."""
        self.ingest = Ingest(IngestSettings(publishers=20))
        self.receive(1, "old", now=0)
        self.receive(3, "old", now=0)
        for index in range(19):
            self.receive(1, f"p{index}", now=1 + index)
        self.assertEqual(self.receive(1, "new", now=30), ["hole", 3, 1])
        self.assertLessEqual(self.ingest.publishers, 20)
        self.assertEqual(self.receive(2, "p18", now=31), [2])
        self.assertEqual(self.ingest.counters.forgotten, 3)

    def test_absurd_numbers_harm_only_their_publisher(self) -> None:
        """The largest number there can be is a number like any other."""
        self.receive(1, "p")
        self.receive(1, "q")
        self.assertEqual(self.receive(2**63 - 1, "p"), [])
        self.assertEqual(self.receive(2, "q"), [2])
        self.assertEqual(numbers_of(self.ingest.tick(10)), ["hole", 2**63 - 1])
        self.assertEqual([self.receive(2, "p"), self.receive(3, "q")], [[], [3]])

    def test_settings_name_what_is_wrong(self) -> None:
        """A bad bound is refused with its name and value."""
        for name, value in (("hole_seconds", 0), ("held_messages", -1), ("held_bytes", "16"), ("publishers", True)):
            bad: dict[str, Any] = {name: value}
            with self.assertRaisesRegex(ValueError, f"{name} is {value!r}"):
                IngestSettings(**bad)


Step = tuple[str, int, int]
PUBLISHERS = ("p", "q", "r")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("lose"), st.integers(0, 2), st.integers(1, 3)),
        st.tuples(st.just("again"), st.integers(0, 2), st.integers(1, 6)),
        st.tuples(st.just("spoil"), st.integers(0, 2), st.just(1)),
        st.tuples(st.just("wait"), st.integers(0, 12), st.just(0)),
        st.tuples(st.just("reconnect"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


class _World:
    """Publishers that number, lose, repeat; an ingest; and what must be true of each release."""

    def __init__(self, held_messages: int) -> None:
        self.ingest = Ingest(IngestSettings(held_messages=held_messages, held_bytes=10**6))
        self.now = 0.0
        self.sent = dict.fromkeys(PUBLISHERS, 0)
        self.arrived: dict[str, int] = {}
        self.known: dict[str, int] = {}
        """Per publisher the highest number that was released or that a hole or resync speaks for."""
        self.released: set[tuple[str, int]] = set()
        self.lost: set[tuple[str, int]] = set()
        self.spoken: set[tuple[str, int]] = set()
        self.based: set[str] = set()

    def arrive(self, publisher: str, number: int, spoiled: bool = False) -> None:
        if publisher not in self.based and number > self.arrived.get(publisher, 0):
            # Its base: what was lost before it can't be known without the log.
            self.based.add(publisher)
            self.known[publisher] = number - 1
        self.arrived[publisher] = max(number, self.arrived.get(publisher, 0))
        # Everything below was confirmed: the plain case, in which no base is doubtful.
        message = make_message(number, publisher)
        assert message.stamp is not None
        item = Hole(1) if spoiled else message
        if spoiled:
            self.lost.add((publisher, number))
        self.check(self.ingest.receive(message.stamp, item, self.now))

    def check(self, releases: Sequence[Release], told: bool = False) -> None:
        for release in releases:
            if isinstance(release, Hole):
                told = True
                continue
            assert release.stamp is not None
            publisher, number = release.stamp.publisher, release.stamp.number
            assert (publisher, number) not in self.released, "released twice"
            assert number > self.known[publisher], "out of order"
            skipped = [(publisher, missing) for missing in range(self.known[publisher] + 1, number)]
            assert told or all(one in self.spoken for one in skipped), "a loss that nobody was told of"
            self.released.add((publisher, number))
            self.known[publisher] = number
        if told:
            # It speaks for all that was given a number before.
            self.spoken = {(name, number) for name in PUBLISHERS for number in range(1, self.sent[name] + 1)}

    def run(self, step: Step) -> None:
        what, which, count = step
        if what == "wait":
            self.now += which
            self.check(self.ingest.tick(self.now))
        elif what == "reconnect":
            self.check(self.ingest.reattached(), told=True)
            self.based.clear()
        else:
            publisher = PUBLISHERS[which]
            if what == "again":
                for number in range(max(1, self.sent[publisher] - count + 1), self.sent[publisher] + 1):
                    if publisher in self.known:
                        self.arrive(publisher, number, (publisher, number) in self.lost)
                return
            for _ in range(count):
                self.sent[publisher] += 1
                if what != "lose":
                    self.arrive(publisher, self.sent[publisher], what == "spoil")

    def finish(self) -> None:
        """The faults stop: everybody sends one more, and 10 s go by."""
        for publisher in PUBLISHERS:
            self.sent[publisher] += 1
            self.arrive(publisher, self.sent[publisher])
        self.now += 10
        self.check(self.ingest.tick(self.now))
        for publisher in PUBLISHERS:
            assert (publisher, self.sent[publisher]) in self.released, "something waits for ever"
        assert self.ingest.held == 0, "something is held for ever"


class IngestPropertyTests(SynchronousTestCase):
    """Any interleaving of sending, loss, re-sending, unreadable messages, waiting and reconnects."""

    @settings(max_examples=150, deadline=None)
    @given(steps, st.sampled_from([1, 3, 1000]))
    def test_once_in_order_and_no_loss_untold(self, schedule: list[Step], held_messages: int) -> None:
        """Each number is released at most once, in order, and every loss is told before anything later."""
        world = _World(held_messages)
        for step in schedule:
            world.run(step)
        world.finish()
