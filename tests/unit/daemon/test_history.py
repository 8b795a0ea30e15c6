"""Tests of livepush.daemon.history."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Event, Kind, Message, Stamp
from livepush.broker.ingest import Hole, Ingest, IngestSettings, Item
from livepush.broker.logindex import LogIndex, Mark, check_stamp
from livepush.daemon.history import WAIT, Answer, History
from livepush.daemon.position import Position
from livepush.daemon.ring import RingSettings


def make_event(channel: str = "x", **more: Any) -> Event:
    return Event(channel, "t", {}, **more)


class HistoryCase(SynchronousTestCase):
    """A process's history and the log index that it rests on."""

    def setUp(self) -> None:
        self.log = LogIndex()
        self.history = History(RingSettings(), self.log, "here")

    def read(self, *offsets: int) -> None:
        for offset in offsets:
            self.log.read(offset, offset)

    def release(self, number: int, offset: int | None, channel: str = "x", at: float = 0.0, **more: Any) -> str:
        entry = self.history.event(make_event(channel, **more), f"p-{number}", 0, 100, offset, at)
        assert entry is not None
        return entry.position

    def since(self, position: Position | str | None, channel: str = "x") -> list[str | None] | str:
        """The ids that follow, or the answer that is none."""
        answer: Answer = self.history.since(
            channel, Position.parse(position) if isinstance(position, str) else position
        )
        if isinstance(answer, list):
            return [entry.id for entry in answer]
        return answer if isinstance(answer, str) else "wait"

    def elsewhere(self, offset: int, check: str | None = None) -> Position:
        return Position("there", 999, Mark(offset, f"{offset:08x}" if check is None else check))


class PositionsTests(HistoryCase):
    """What an entry vouches for."""

    def test_fixed_at_release(self) -> None:
        """It stays what it was, however far the log is read afterwards."""
        self.read(10)
        first = self.release(1, 10)
        second = self.release(2, None)
        self.read(11)
        self.history.located("p-2", 11)
        answer = self.history.since("x", Position.parse("here.0.-1."))
        assert isinstance(answer, list)
        self.assertEqual([entry.position for entry in answer], [first, second])
        self.assertEqual((first, second), ("here.1.10.0000000a", "here.2.10.0000000a~p-2"))
        self.assertEqual(self.history.position(), "here.2.11.0000000b")

    def test_before_any_record(self) -> None:
        """On this process it is as good as any."""
        self.assertEqual(self.history.position(), "here.0.-1.")
        self.release(1, None)
        self.assertEqual(self.since("here.0.-1."), ["p-1"])

    def test_a_held_record_keeps_it_back(self) -> None:
        """What is not released is not vouched for; what is released behind it is named."""
        self.read(10, 11, 12)
        self.log.hold(11)
        self.assertEqual(self.release(3, 12), "here.1.10.0000000a~p-3")
        self.log.release(11)
        self.assertEqual(self.history.position(), "here.1.12.0000000c")


class SameProcessTests(HistoryCase):
    """By feed index, exactly."""

    def test_what_follows(self) -> None:
        """Of that channel, in feed order."""
        positions = [self.release(number, None, channel) for number, channel in enumerate("xyx", 1)]
        self.assertEqual([self.since(position) for position in positions], [["p-3"], ["p-3"], []])
        self.assertEqual(self.since(positions[0], "y"), ["p-2"])

    def test_not_issued(self) -> None:
        """An index that was never given out is answered with a resync."""
        self.assertEqual((self.since("here.1.-1."), self.history.after("x", 1)), ("restart", "restart"))

    def test_trimmed(self) -> None:
        """What went over the bound is known to have gone."""
        self.history = History(RingSettings(events=1), self.log, "here")
        self.read(1, 2)
        before = self.release(1, 1), self.release(2, 2)
        self.assertEqual([self.since("here.0.-1."), *map(self.since, before)], ["trimmed", ["p-2"], []])

    def test_start_over(self) -> None:
        """Whoever was here before is told, also of offsets of the other log that happen to be known."""
        self.read(1)
        before = self.release(1, 1)
        self.log.clear()
        position = self.history.start_over("restart")
        self.assertEqual((position, self.since(before), self.since(position)), ("here.2.-1.", "restart", []))
        self.release(2, None)
        self.assertEqual((self.since(position), len(self.history.ring)), (["p-2"], 1))


class OtherProcessTests(HistoryCase):
    """By offset and check."""

    def test_what_follows(self) -> None:
        """Whatever has a greater offset, or none yet, in feed order, which is not the log's."""
        self.read(10, 11, 12, 13)
        for number, offset in ((1, 11), (2, 10), (3, None), (4, 13), (5, 12)):
            self.release(number, offset)
        self.assertEqual(self.since(self.elsewhere(10)), ["p-1", "p-3", "p-4", "p-5"])
        self.assertEqual(self.since(self.elsewhere(12)), ["p-3", "p-4"])
        self.history.located("p-3", 11)
        self.assertEqual(self.since(self.elsewhere(12)), ["p-4"])
        self.assertEqual(self.since(self.elsewhere(12), "y"), [])

    def test_what_the_position_names(self) -> None:
        """Of the publishers that it names only what is later comes; of all others everything that is not in the log."""
        self.read(10)
        for number in (1, 2, 3):
            self.release(number, None)
        self.history.event(make_event(), "q-r-2", 0, 100, None, 0.0)
        leads = {"~p-2": ["p-3", "q-r-2"], "~p-3~q-r-1": ["q-r-2"], "~q-r-2": ["p-1", "p-2", "p-3"], "~q-9": None}
        everything = ["p-1", "p-2", "p-3", "q-r-2"]
        for named, expected in leads.items():
            self.assertEqual(self.since(f"there.999.10.0000000a{named}"), expected or everything, named)

    def test_what_was_had_as_a_newer_version(self) -> None:
        """It was not released there, because a newer version had come before: it does not come after that one."""
        self.read(10)
        self.release(1, None, key="5", version=2)
        stale = self.history.event(make_event(key="5", version=1), "q-1", 0, 100, None, 0.0)
        self.assertEqual((stale, self.history.position()), (None, "here.1.10.0000000a~q-1~p-1"))

    def test_not_read_yet(self) -> None:
        """The reader is behind: wait. The next record tells."""
        self.assertEqual(self.since(self.elsewhere(11)), "wait")
        self.read(10)
        self.assertEqual(self.since(self.elsewhere(11)), "wait")
        self.read(11)
        self.assertEqual(self.since(self.elsewhere(11)), [])

    def test_another_log(self) -> None:
        """Another copy stands there, or none: nobody knows what was missed."""
        self.read(10, 12)
        self.assertEqual(self.since(self.elsewhere(10, "deadbeef")), "restart")
        self.assertEqual(self.since(self.elsewhere(11)), "restart")

    def test_older_than_what_was_read(self) -> None:
        """What was before is not known; from before any record least of all."""
        self.assertEqual(self.since("there.0.-1."), "trimmed")
        self.read(10, 12)
        self.assertEqual(self.since(self.elsewhere(9)), "trimmed")
        self.assertEqual(self.since("there.0.-1."), "trimmed")

    def test_unreadable(self) -> None:
        """What is no position is answered with a resync."""
        self.assertEqual(self.since(None), "trimmed")

    def test_trimmed(self) -> None:
        """The highest offset that has gone counts, whatever the order in which they went."""
        self.history = History(RingSettings(events=1), self.log, "here")
        self.read(10, 11, 12, 13)
        for number, offset in ((1, 12), (2, 11), (3, 13)):
            self.release(number, offset)
        self.assertEqual([self.since(self.elsewhere(at)) for at in (11, 12)], ["trimmed", ["p-3"]])
        self.assertEqual(self.since(self.elsewhere(10), "y"), [])

    def test_a_channel_that_has_nothing_left(self) -> None:
        """What it had is known to have gone all the same."""
        self.history = History(RingSettings(seconds=10), self.log, "here")
        self.read(10, 11)
        self.release(1, 11, at=0.0)
        self.history.trim(11)
        self.assertEqual([self.since(self.elsewhere(at)) for at in (10, 11)], ["trimmed", []])
        self.assertEqual(len(self.history.ring), 0)
        self.release(2, None, at=12.0)
        self.assertEqual([self.since(self.elsewhere(at)) for at in (10, 11)], ["trimmed", ["p-2"]])

    def test_gone_before_it_was_located(self) -> None:
        """Where it stands is not known, so nobody who comes from elsewhere is answered until it is; nor silently."""
        self.history = History(RingSettings(events=1), self.log, "here")
        self.read(10)
        for number in (1, 2, 3):
            self.release(number, None)
        self.assertEqual((len(self.history.ring), self.since(self.elsewhere(10))), (2, "trimmed"))
        self.read(11, 13)
        self.assertEqual(self.since(self.elsewhere(13)), "trimmed")
        self.read(14)
        self.history.located("p-1", 14)
        self.assertEqual([self.since(self.elsewhere(at)) for at in (13, 14)], ["trimmed", ["p-2", "p-3"]])

    def test_kept_longer_until_it_is_located(self) -> None:
        """Twice the bounds, of number, age and bytes."""
        self.history = History(RingSettings(events=2, seconds=10, bytes=2_000), self.log, "here")
        for number in (1, 2, 3):
            self.release(number, None, at=0.0)
        self.history.trim(20)
        self.assertEqual(len(self.history.ring), 3)
        self.history.located("p-1", 5)
        self.history.trim(20)
        self.assertEqual(len(self.history.ring), 2)
        self.history.trim(20.1)
        self.assertEqual((len(self.history.ring), self.history.ring.bytes), (0, 0))

    def test_what_the_log_never_shows(self) -> None:
        """It is not waited for for ever: then nobody is answered who was before what was read by then."""
        self.history = History(RingSettings(events=1, seconds=10), self.log, "here")
        for number in (1, 2, 3):
            self.release(number, None)
        self.read(10, 11)
        self.history.trim(30)
        self.assertEqual(self.since(self.elsewhere(11)), "trimmed")
        self.history.trim(30.1)
        self.assertEqual([self.since(self.elsewhere(at)) for at in (10, 11)], ["trimmed", []])


class LossTests(HistoryCase):
    """Holes and publishers' records are places like entries."""

    def test_a_hole(self) -> None:
        """Whoever resumes across it is told, on any channel; whoever was behind it is not."""
        self.read(10, 12)
        before = self.history.position()
        entry = self.history.resync(None, "hole", 12, "p-3", 0.0)
        self.release(3, 12)
        self.assertEqual(
            (entry.position, self.since(before), self.since(before, "z")), ("here.1.12.0000000c", "hole", "hole")
        )
        self.assertEqual(self.since(entry.position), ["p-3"])
        self.assertEqual([self.since(self.elsewhere(at)) for at in (10, 12)], ["hole", []])

    def test_a_hole_whose_place_is_not_known(self) -> None:
        """Nobody from elsewhere is answered until the record behind it is met."""
        self.read(10)
        self.history.resync(None, "hole", None, "p-3", 0.0)
        self.release(3, None)
        self.assertEqual(self.since(self.elsewhere(10)), "hole")
        self.read(11, 12)
        self.history.located("p-3", 12)
        self.assertEqual([self.since(self.elsewhere(at)) for at in (11, 12)], ["hole", []])

    def test_an_earlier_hole_with_a_later_place(self) -> None:
        """The highest offset counts, not the newest hole."""
        self.read(10, 20)
        self.history.resync(None, "hole", 20, "p-9", 0.0)
        self.history.resync(None, "hole", 10, "q-9", 0.0)
        self.assertEqual([self.since(self.elsewhere(at)) for at in (10, 20)], ["hole", []])

    def test_a_publishers_record(self) -> None:
        """It concerns its channel; of all channels it is as a hole."""
        self.read(10, 11, 12)
        before = self.history.position()
        self.history.resync("x", "publisher", 11, "p-3", 0.0)
        self.release(4, 12)
        self.assertEqual((self.since(before), self.since(before, "y")), ("publisher", []))
        self.assertEqual([self.since(self.elsewhere(at)) for at in (10, 11)], ["publisher", ["p-4"]])
        self.history.resync(None, "publisher", None, "p-5", 0.0)
        self.assertEqual((self.since(before, "y"), self.since(self.elsewhere(12), "y")), ("publisher", "publisher"))


class VersionTests(HistoryCase):
    """Key and version."""

    def test_an_older_version_is_not_released(self) -> None:
        """Two publishers' events in the wrong order: the newer one stands."""
        self.release(1, None, key="5", version=2)
        index = self.history.index
        stale = make_event(key="5", version=1)
        self.assertIsNone(self.history.event(stale, "q-1", 0, 100, None, 0.0))
        self.assertTrue(self.history.is_stale(stale))
        self.assertEqual((self.history.index, self.since("here.0.-1.")), (index, ["p-1"]))

    def test_a_replay_tells_each_key_once(self) -> None:
        """The last word on it, in its place."""
        for number, key in enumerate(("5", None, "6", "5"), 1):
            self.release(number, number, key=key)
        self.read(0)
        self.assertEqual(self.since("here.0.-1."), ["p-2", "p-3", "p-4"])
        self.assertEqual(self.since(self.elsewhere(0)), ["p-2", "p-3", "p-4"])


# -- a client between two processes ------------------------------------------------------------------------------------


class _Process:
    """The product's ingest, log index and history; a queue that loses; the broker's log as far as it is read."""

    def __init__(self, world: _World, nonce: str, held: int, ring: int) -> None:
        self.world, self.log = world, LogIndex()
        self.ingest = Ingest(self.log, self.release, IngestSettings(held_messages=held))
        self.history = History(RingSettings(events=ring), self.log, nonce)
        self.queue: deque[tuple[Stamp, str]] = deque()
        self.next = 0

    def take(self, stamp: Stamp, channel: str, offset: int | None) -> None:
        if offset is not None:
            self.log.read(offset, check_stamp(stamp))
        if self.ingest.is_new(stamp):
            self.ingest.receive(stamp, Message(Kind.EVENT, stamp, 0, make_event(channel)), offset, self.world.now)
        elif self.ingest.repeat(stamp, offset, self.world.now) and offset is not None:
            self.history.located(stamp.id, offset)

    def read(self) -> bool:
        if self.next == len(self.world.log):
            return False
        stamp, channel, offset = self.world.log[self.next]
        self.next += 1
        self.take(stamp, channel, offset)
        return True

    def deliver(self) -> bool:
        if not self.queue:
            return False
        stamp, channel = self.queue.popleft()
        self.take(stamp, channel, None)
        return True

    def release(self, item: Item, offset: int | None) -> None:
        world, listening = self.world, self.world.at is self
        if isinstance(item, Hole):
            entry = self.history.resync(None, "hole", offset, item.stamp.id, world.now)
            for channel in "xy" if listening else "":
                world.reload(channel, entry.position)
        elif isinstance(item.content, Event) and item.stamp is not None:
            released = self.history.event(item.content, item.stamp.id, 0, 100, offset, world.now)
            if released is not None and listening:
                world.hear(item.content.channel, item.stamp.id, released.position)


class _World:
    """Two publishers, one log, two processes, and one client with the rules of `livepush.js`."""

    def __init__(self, held: int, ring: int) -> None:
        self.now, self.log, self.offset = 0.0, list[tuple[Stamp, str, int]](), 0
        self.sent = dict.fromkeys("pq", 0)
        self.at: _Process | None = None
        self.processes = [_Process(self, nonce, held, ring) for nonce in ("one", "two")]
        self.published: dict[str, set[str]] = {"x": set(), "y": set()}
        self.known: dict[str, set[str]] = {"x": set(), "y": set()}
        self.positions: dict[str, str] = {}
        self.top: dict[tuple[str, str], int] = {}
        self.replays = self.again = 0

    # the client

    def hear(self, channel: str, id: str, position: str) -> None:  # noqa: A002
        publisher, _, number = id.partition("-")
        self.positions[channel] = position
        if int(number) > self.top.get((channel, publisher), 0):
            self.top[channel, publisher] = int(number)
            self.known[channel].add(id)

    def reload(self, channel: str, position: str) -> None:
        self.positions[channel] = position
        self.known[channel] |= self.published[channel]

    def resume(self, process: _Process) -> None:
        self.at = process
        for channel in "xy":
            text = self.positions.get(channel)
            if text is None:
                self.reload(channel, process.history.position())
                continue
            answer = process.history.since(channel, Position.parse(text))
            if isinstance(answer, list):
                self.replays += len(answer)
                self.again += sum(entry.id in self.known[channel] for entry in answer)
                for entry in answer:
                    self.hear(channel, entry.id or "", entry.position)
                self.positions[channel] = process.history.position()
            else:
                self.reload(channel, process.history.position())

    # what happens

    def run(self, what: str, which: int, count: int) -> None:
        process, publisher = self.processes[which], "pq"[count % 2]
        if what == "wait":
            self.now += count
            for each in self.processes:
                each.ingest.tick(self.now)
        elif what == "go":
            self.resume(process)
        elif what == "leave":
            self.at = None
        elif what == "beat" and self.at is not None:
            self.positions = dict.fromkeys("xy", self.at.history.position())
        elif what in ("publish", "drop"):
            # "drop": this process's queue loses it; the log and the other process have it.
            self.sent[publisher] += 1
            self.offset += 1 + count // 4
            stamp, channel = Stamp(publisher, self.sent[publisher], self.sent[publisher], 1), "xxy"[count % 3]
            self.published[channel].add(stamp.id)
            self.log.append((stamp, channel, self.offset))
            for each in self.processes:
                if what == "publish" or each is not process:
                    each.queue.append((stamp, channel))
        for _ in range(count):
            if what == "read":
                process.read()
            elif what == "deliver":
                process.deliver()

    def finish(self) -> None:
        for process in self.processes:
            while process.deliver() or process.read():
                pass
        self.run("wait", 0, 10)
        self.resume(self.processes[0])


steps = st.tuples(
    st.sampled_from(["publish", "publish", "drop", "read", "read", "deliver", "go", "go", "leave", "beat", "wait"]),
    st.integers(0, 1),
    st.integers(1, 6),
)


class InterleavingTests(SynchronousTestCase):
    """Ways to lose an event in silence that were found when the rules were written, one by one."""

    def setUp(self) -> None:
        self.world = _World(held=1000, ring=1000)
        self.one, self.two = self.world.processes
        self.reloads: list[str] = []
        reload = self.world.reload

        def note(channel: str, position: str) -> None:
            self.reloads.append(channel)
            reload(channel, position)

        self.world.reload = note  # type: ignore[method-assign]

    def begin(self) -> None:
        """Both processes have read what there is, and the client is on the first one."""
        for process in self.world.processes:
            while process.read() or process.deliver():
                pass
        self.world.resume(self.one)
        self.reloads.clear()

    def publish(self, publisher: str, offset: int, low: int | None = None, number: int | None = None) -> Stamp:
        """An event of channel x into the log; the queues get it where a test says so."""
        world = self.world
        world.sent[publisher] = number or world.sent[publisher] + 1
        stamp = Stamp(publisher, world.sent[publisher], low or world.sent[publisher], 1)
        world.published["x"].add(stamp.id)
        world.log.append((stamp, "x", offset))
        return stamp

    def assert_complete(self, reloads: int = 0) -> None:
        self.assertEqual((self.world.known["x"], self.reloads.count("x")), (self.world.published["x"], reloads))

    def test_two_publishers_in_different_order(self) -> None:
        """The index of one process says nothing to the other, in whose queue they stood the other way round."""
        first, second = self.publish("p", 10), self.publish("q", 11)
        self.begin()
        third, fourth = self.publish("p", 12), self.publish("q", 13)
        self.one.take(third, "x", None)
        self.two.take(fourth, "x", None)
        self.two.take(third, "x", None)
        self.world.resume(self.two)
        self.assertEqual([first.id, second.id, third.id, fourth.id], sorted(self.world.known["x"], key=self.order))
        self.assert_complete()

    def order(self, name: str) -> int:
        return next(offset for stamp, _, offset in self.world.log if stamp.id == name)

    def test_a_publisher_that_is_held_off(self) -> None:
        """For 30 s one process holds a record that the other has released: its positions do not vouch for it."""
        self.publish("p", 10)
        self.begin()
        late = Stamp("p", 2, 2, 1)
        self.world.published["x"].add(late.id)
        self.publish("p", 12, low=2, number=3)
        self.publish("q", 13)
        self.one.read()
        self.one.read()
        self.two.take(late, "x", None)  # its queue had it, the log gets it later
        self.two.read()
        self.two.read()
        self.assertEqual(
            Position.parse(self.world.positions["x"]),
            Position("one", 2, self.two.log.reached._replace(offset=10, check=self.two.log.check_at(10) or ""), "~q-1"),
        )
        self.world.resume(self.two)
        self.assert_complete()

    def test_a_publisher_of_a_single_event(self) -> None:
        """Its queue copy is dropped by drop-head: the log brings it; the second of two is not taken for the first."""
        self.publish("q", 10)
        self.begin()
        self.publish("p", 11)
        self.one.take(self.publish("p", 12), "x", None)
        self.assertEqual(self.world.known["x"], {"q-1"})
        self.one.read()
        self.assert_complete()

    def test_a_log_made_anew_between_two_resumes(self) -> None:
        """A copy that was sent again stands at the same offset of the new log: it is another copy, and that is seen."""
        self.publish("p", 10)
        self.begin()
        self.publish("p", 0)
        anew = _Process(self.world, "anew", 1000, 1000)
        anew.take(Stamp("p", 1, 1, 2), "x", 10)
        self.world.resume(anew)
        self.assertEqual(self.reloads, ["x", "y"])

    def test_resuming_across_a_hole(self) -> None:
        """Also on a process that was not the one that told it, and on a channel where nothing came since."""
        self.publish("p", 10)
        self.begin()
        self.world.at = None
        self.publish("p", 12, low=3, number=3)
        self.two.read()
        self.assertEqual(self.two.history.index, 3)
        self.world.resume(self.two)
        self.assertEqual(self.reloads, ["x", "y"])
        self.world.resume(self.two)
        self.assertEqual(self.reloads, ["x", "y"])

    def test_nothing_was_read_yet(self) -> None:
        """The process that a client comes to is behind: it waits, and then gets all."""
        self.publish("p", 10)
        self.begin()
        self.publish("p", 11)
        self.one.read()
        position = Position.parse(self.world.positions["x"])
        self.assertEqual(self.two.history.since("x", position), WAIT)
        self.two.read()
        self.assertEqual(self.two.history.since("x", position), [])


class ResumeTests(SynchronousTestCase):
    """A client that goes from one process to the other and back, at any moment."""

    @settings(max_examples=400, deadline=None)
    @given(st.lists(steps, max_size=60), st.sampled_from([2, 1000]), st.sampled_from([1, 2, 1000]))
    def test_nothing_is_missing_in_silence(self, schedule: list[tuple[str, int, int]], held: int, ring: int) -> None:
        """In the end it has heard of every event, or has reloaded after it, however small rings and bounds are."""
        world = _World(held, ring)
        world.run("go", 0, 1)
        for step in schedule:
            world.run(*step)
        world.finish()
        self.assertEqual(world.known, world.published)

    def test_without_trouble_nothing_is_reloaded(self) -> None:
        """The replay is what makes it complete, and not a resync; and it holds nothing that the client has had."""
        world = _World(1000, 1000)
        world.run("publish", 0, 3)
        world.run("read", 0, 1)
        world.run("read", 1, 1)
        world.run("go", 0, 1)
        reloads: list[str] = []
        world.reload = lambda channel, position: reloads.append(channel)  # type: ignore[method-assign]
        for number in range(40):
            world.run("publish", 0, 1 + number % 6)
            which = number % 2
            # The one that the client goes to has read all, the one that it leaves has not.
            world.run("deliver", which, number % 3)
            world.run("read", which, 9)
            world.run("go", which, 1)
        world.finish()
        self.assertEqual((world.known, reloads), (world.published, []))
        self.assertGreater(world.replays, 10)
        self.assertEqual(world.again, 0)
