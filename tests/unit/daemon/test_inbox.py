"""Tests of livepush.daemon.inbox."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.inbox import Inbox, Said
from livepush.daemon.ratelimit import Meter, Rate
from tests.unit.daemon.doubles import FakeLink

SECONDS = 10.0
MOST = 5


class FakeOwner:
    """A connection that remembers; `begins` makes it begin a job for each message, which waits in `jobs`."""

    def __init__(self) -> None:
        self.ended = self.suspended = False
        self.begins = False
        self.inbox: Inbox | None = None
        self.handled: list[Said] = []
        self.failures: list[Failure] = []
        self.late = self.flooded = 0
        self.jobs: list[Deferred[None]] = []

    def handle(self, said: Said) -> None:
        self.handled.append(said)
        if self.begins:
            assert self.inbox is not None
            job: Deferred[None] = Deferred()
            self.jobs.append(job)
            self.inbox.begin(_wait_for(job))

    def failed(self, failure: Failure) -> None:
        self.failures.append(failure)

    def is_late(self) -> None:
        self.late += 1

    def floods(self) -> None:
        self.flooded += 1
        self.ended = True
        assert self.inbox is not None
        self.inbox.end()


async def _wait_for(job: Deferred[None]) -> None:
    await job


class InboxCase(SynchronousTestCase):
    """An owner, a transport and a clock."""

    def setUp(self) -> None:
        self.make(Rate(1000.0, 1000))

    def make(self, rate: Rate) -> None:
        self.clock, self.owner, self.link = Clock(), FakeOwner(), FakeLink()
        self.inbox = Inbox(self.owner, self.link, self.clock, SECONDS, Meter(rate), MOST)
        self.owner.inbox = self.inbox

    def say(self, *words: bytes) -> None:
        for word in words:
            self.inbox.add(word)

    def assert_idle(self, *handled: bytes) -> None:
        """All this was handled; the client is read from, and no timer is left."""
        self.assertEqual(self.owner.handled, list(handled))
        self.assertEqual((self.link.reading_paused, self.inbox.stalled), (False, False))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class OrderTests(InboxCase):
    """One after the other."""

    def test_at_once(self) -> None:
        """What can be answered at once is, in the step in which it comes."""
        self.say(b"1", b"2")
        self.assert_idle(b"1", b"2")

    def test_waits(self) -> None:
        """While a request is under way the client is not read from, and what it has said already waits its turn."""
        self.owner.begins = True
        self.say(b"1", b"2")
        self.assertEqual((self.owner.handled, self.link.reading_paused), ([b"1"], True))
        self.owner.jobs.pop().callback(None)
        self.assertEqual((self.owner.handled, self.link.reading_paused), ([b"1", b"2"], True))
        self.owner.jobs.pop().callback(None)
        self.assert_idle(b"1", b"2")

    def test_a_job_that_does_not_wait(self) -> None:
        """A request that is answered without waiting does not stop the reading."""

        async def answer() -> None:
            self.owner.handled.append(b"answered")

        self.inbox.begin(answer())
        self.say(b"1")
        self.assert_idle(b"answered", b"1")

    def test_a_long_inbox(self) -> None:
        """A burst of requests that are answered at once does not end in a recursion."""
        self.inbox = Inbox(self.owner, self.link, self.clock, SECONDS, Meter(Rate(1e9, 10**6)), 10**6)
        self.owner.suspended = True
        self.say(*[b"x"] * 5000)
        self.owner.suspended = False
        self.inbox.go_on()
        self.assertEqual(len(self.owner.handled), 5000)

    def test_failed(self) -> None:
        """A request that fails is told, and the next one has its turn."""
        self.owner.begins = True
        self.say(b"1", b"2")
        self.owner.begins = False
        self.owner.jobs.pop().errback(ZeroDivisionError())
        self.assertEqual([failure.type for failure in self.owner.failures], [ZeroDivisionError])
        self.assert_idle(b"1", b"2")


class TimeTests(InboxCase):
    """A bound for each request."""

    def test_late(self) -> None:
        """A request has its time, counted from its own begin; the one before it takes none of it."""
        self.owner.begins = True
        self.say(b"1", b"2")
        self.clock.advance(SECONDS - 1)
        self.owner.jobs.pop().callback(None)
        self.clock.advance(SECONDS - 1)
        self.assertEqual(self.owner.late, 0)
        self.clock.advance(1)
        self.assertEqual(self.owner.late, 1)

    def test_suspended(self) -> None:
        """While the owner is suspended the time does not count: the look-up has a bound of its own."""
        self.owner.begins = True
        self.say(b"1")
        self.owner.suspended = True
        self.clock.advance(SECONDS)
        self.assertEqual(self.owner.late, 0)
        self.owner.suspended = False
        self.clock.advance(SECONDS)
        self.assertEqual(self.owner.late, 1)

    def test_done_in_time(self) -> None:
        """A request that is done leaves no timer."""
        self.owner.begins = True
        self.say(b"1")
        self.owner.jobs.pop().callback(None)
        self.assert_idle(b"1")


class SuspensionTests(InboxCase):
    """The owner is stopped, and goes on."""

    def test_stopped(self) -> None:
        """What comes while it is suspended is handled when it goes on, in order."""
        self.owner.suspended = True
        self.inbox.pause()
        self.say(b"1", b"2")
        self.assertEqual((self.owner.handled, self.link.reading_paused), ([], True))
        self.owner.suspended = False
        self.inbox.go_on()
        self.assert_idle(b"1", b"2")

    def test_done_meanwhile(self) -> None:
        """A request that ends while the owner is suspended does not make the client be read again."""
        self.owner.begins = True
        self.say(b"1", b"2")
        self.owner.suspended = True
        self.inbox.pause()
        self.owner.jobs.pop().callback(None)
        self.assertEqual((self.owner.handled, self.link.reading_paused), ([b"1"], True))


class RateTests(InboxCase):
    """A client that says more than it may."""

    def test_throttled(self) -> None:
        """What is over the rate is not lost and not refused: it waits, and the client is not read from meanwhile."""
        self.make(Rate(8.0, 2))
        self.say(b"1", b"2", b"3", b"4")
        self.assertEqual((self.owner.handled, self.link.reading_paused), ([b"1", b"2"], True))
        self.clock.advance(0.125)
        self.assertEqual((self.owner.handled, self.link.reading_paused), ([b"1", b"2", b"3"], True))
        self.clock.advance(0.125)
        self.assert_idle(b"1", b"2", b"3", b"4")

    def test_busy_meanwhile(self) -> None:
        """A turn that comes while the owner is suspended is not taken before it goes on."""
        self.make(Rate(8.0, 1))
        self.say(b"1", b"2")
        self.owner.suspended = True
        self.clock.advance(0.125)
        self.assertEqual((self.owner.handled, self.link.reading_paused), ([b"1"], True))
        self.owner.suspended = False
        self.inbox.go_on()
        self.assert_idle(b"1", b"2")

    def test_flood(self) -> None:
        """More than may wait ends the connection, once, and nothing of what waited is handled."""
        self.owner.begins = True
        self.say(*[b"x"] * (MOST + 1))
        self.assertEqual(self.owner.flooded, 0)
        self.say(b"x", b"x")
        self.assertEqual((self.owner.flooded, len(self.owner.handled)), (1, 1))


class EndTests(InboxCase):
    """The connection is over."""

    def test_nothing_more(self) -> None:
        """What waited and what comes is not handled, and no timer is left."""
        self.owner.begins = True
        self.say(b"1", b"2")
        self.owner.ended = True
        self.inbox.end()
        self.say(b"3")
        self.assertEqual((self.owner.handled, self.clock.getDelayedCalls()), ([b"1"], []))

    def test_an_answer_that_outlasts_it(self) -> None:
        """A request that ends later wakes nobody: the client is not read again, and its failure is nobody's."""
        for result in (None, Failure(ZeroDivisionError())):
            self.make(Rate(1000.0, 1000))
            self.owner.begins = True
            self.say(b"1")
            self.owner.ended = True
            self.inbox.end()
            self.owner.jobs.pop().callback(result)
            self.assertEqual((self.owner.failures, self.link.reading_paused), ([], True))
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_throttled(self) -> None:
        """A turn that was waited for never comes."""
        self.make(Rate(8.0, 1))
        self.say(b"1", b"2")
        self.owner.ended = True
        self.inbox.end()
        self.assertEqual((self.owner.handled, self.clock.getDelayedCalls()), ([b"1"], []))
