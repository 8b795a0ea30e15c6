"""Control messages that concern everybody, in a process with thousands of connections and a pool of known speed."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Control, Event
from livepush.daemon.connection import Connection
from livepush.daemon.entitlement import ChannelRule, Snapshot
from livepush.daemon.errors import Busy
from livepush.daemon.lookups import Lookups
from livepush.daemon.settings import Limits
from tests.unit.daemon.doubles import CODEC, ENCODER, FakeLink, make_client, make_hub

THREADS = 4
JOB_SECONDS = THREADS / 470  # as measured with a real database where each is looked up alone, on two cores


class BigClock(Clock):
    """Twisted's sorts all calls whenever one is added."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:  # noqa: A002
        now = self.seconds()
        call = DelayedCall(now + delay, callable, args, kw, self.calls.remove, lambda _: None, self.seconds)
        insort(self.calls, call, key=DelayedCall.getTime)
        return call


class Pool:
    """Django's threads: each look-up takes its time, and a thread.

    Attributes:
        jobs: look-ups that were asked for since the start.
        refuses: nothing is looked up; as when the database is away.
        hangs: answers never come.
    """

    def __init__(self, clock: Clock) -> None:
        self.jobs = 0
        self.refuses = self.hangs = False
        self._clock = clock
        self._free = [0.0] * THREADS

    async def identify(self, cookies: str) -> Snapshot | None:
        """At once; our cookies are users."""
        return make_client(int(cookies))

    async def redeem(self, ticket: str) -> Snapshot | None:
        """Nobody here has one."""
        raise NotImplementedError

    def binding(self, cookies: str) -> str:
        """Our cookies are users."""
        return cookies

    async def reidentify(self, snapshot: Snapshot) -> Snapshot | None:
        """Nothing has changed."""
        self.jobs += 1
        if self.refuses:
            raise Busy
        now = self._clock.seconds()
        end = max(now, heappop(self._free)) + JOB_SECONDS
        heappush(self._free, end)
        done: Deferred[None] = Deferred()
        if not self.hangs:
            self._clock.callLater(end - now, done.callback, None)
        await done
        return snapshot

    async def may_return(self, snapshot: Snapshot) -> bool:
        """Nobody's login ends here."""
        raise NotImplementedError

    async def allows(self, snapshot: Snapshot, rule: ChannelRule, channel: str) -> bool:
        """No channel here has a rule of its own."""
        raise NotImplementedError


class SharedPool(Pool):
    """The same as `Identifier` asks it: a batch at a time, and nothing twice that waits already."""

    is_open = True

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._lookups: Lookups[Snapshot, Snapshot] = Lookups(clock, self, self._look, 10_000, THREADS)

    async def reidentify(self, snapshot: Snapshot) -> Snapshot | None:
        """Nothing has changed."""
        return await self._lookups.ask(snapshot)

    async def run(self, job: Callable[[], Any]) -> Any:
        """A batch takes its time, too."""
        await deferLater(self._clock, JOB_SECONDS)
        return job()

    def _look(self, batch: Sequence[Snapshot]) -> Sequence[Snapshot | Exception]:
        if self.refuses:
            raise Busy
        self.jobs += len(batch)
        return batch


class EverybodyCase(SynchronousTestCase):
    """A hub, a pool, and members who hear `orders`."""

    def setUp(self) -> None:
        self.clock = BigClock()
        self.hub = make_hub(self.clock)
        self.pool = Pool(self.clock)
        self.links: list[FakeLink] = []

    def join(self, members: int, tabs: int = 1) -> None:
        """So many users, each with so many pages, past their greetings."""
        for user in [*range(members)] * tabs:
            link = FakeLink()
            connection = Connection(self.hub, self.pool, ENCODER, CODEC, Limits(), link)
            link.gone = connection.closed
            connection.opened(str(user))
            connection.received(b'{"op": "hello"}')
            link.written.clear()
            self.links.append(link)

    def publish(self, number: int) -> None:
        self.hub.event(Event("orders", "done", {}), f"p-{number}", 9, 50)
        self.hub.flush()

    def control(self) -> None:
        self.hub.control(Control("identity"))

    def work(self, seconds: float) -> None:
        """Time passes, in steps in which each thread answers once."""
        self.clock.pump([JOB_SECONDS] * round(seconds / JOB_SECONDS))

    def closed(self) -> list[int | None]:
        """The codes with which pages were closed."""
        return [link.code for link in self.links if link.code is not None]

    def assert_all_heard(self, *ids: str) -> None:
        """Every page was told just that, and nobody waits for anything."""
        self.assertEqual(self.closed(), [])
        for link in self.links:
            self.assertEqual([message["id"] for message in link.messages()], list(ids))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class QueueTests(EverybodyCase):
    """Many have to wait; who waits hears nothing, and is not blamed for it."""

    def test_five_thousand(self) -> None:
        """One message for all of a large process closes nobody, though they take eleven seconds."""
        self.join(5_000)
        self.control()
        self.publish(1)
        self.work(5)
        self.assertEqual(self.closed(), [])
        told = sum(bool(link.written) for link in self.links)
        self.assertTrue(1_500 < told < 3_500, told)
        self.work(7)
        self.assert_all_heard("p-1")

    def test_a_burst(self) -> None:
        """They are looked up once, a tenth of a second after the last of many messages; suspended from the first on."""
        self.join(100)
        for number in range(1, 51):
            self.control()
            self.publish(number)
            self.work(0.015)
        self.assertEqual((self.pool.jobs, any(link.written for link in self.links)), (0, False))
        self.work(0.5)
        self.assertEqual(self.pool.jobs, 100)
        self.assert_all_heard(*[f"p-{number}" for number in range(1, 51)])

    def test_a_stream(self) -> None:
        """With messages that never pause, everybody is looked up, a second late at first; and nobody is closed."""
        self.join(100)
        for _ in range(40):
            self.control()
            self.work(0.05)
        self.assertEqual(self.closed(), [])
        self.publish(1)
        for _ in range(40):
            self.control()
            self.work(0.05)
        self.assertTrue(all(link.written for link in self.links))
        self.work(1)
        self.assert_all_heard("p-1")

    def test_messages_faster_than_the_pool(self) -> None:
        """No answer is ever fresh; when it is over, all go on."""
        self.join(20)
        for _ in range(2_000):
            self.control()
            self.clock.advance(0.005)
        self.publish(1)
        self.assertEqual(self.closed(), [])
        self.work(2)
        self.assert_all_heard("p-1")

    def test_tabs(self) -> None:
        """The tabs of a session are looked up together, also when it fails; after a reconnect each for itself."""
        self.pool = SharedPool(self.clock)
        self.join(50, tabs=4)
        self.pool.refuses = True
        self.control()
        self.work(0.5)
        self.pool.refuses = False
        self.pool.jobs = 0
        self.publish(1)
        self.work(2)
        self.assertEqual(self.pool.jobs, 50)
        self.assert_all_heard("p-1")
        self.hub.distrust(False)
        self.work(2)
        self.assertEqual(self.pool.jobs, 250)

    def test_a_pool_that_hangs(self) -> None:
        """Whose job gets no answer is closed after five seconds, and gives its place away; others after a minute."""
        self.join(20)
        self.pool.hangs = True
        self.control()
        for seconds, closed in ((4.8, 0), (0.5, 8), (5, 16), (5, 20)):
            self.work(seconds)
            self.assertEqual(self.closed(), [4029] * closed)
        self.join(200)
        self.control()
        self.work(59)
        self.assertEqual(len(self.closed()), 20 + 88)
        self.work(2)
        self.assertEqual(len(self.closed()), 220)
        self.assertEqual(self.hub.connections, 0)

    def test_a_pool_that_refuses(self) -> None:
        """Asking again gives nobody more time."""
        self.join(8)
        self.pool.refuses = True
        self.control()
        self.work(4.8)
        self.assertEqual(self.closed(), [])
        self.work(0.5)
        self.assertEqual(self.closed(), [4029] * 8)
