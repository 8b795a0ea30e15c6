"""Look-ups that gather into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.errors import Busy
from livepush.daemon.lookups import ANSWERS_A_TURN, BATCH_SECONDS, LEAST, Lookups


class Threads:
    """Jobs begin when the test says so."""

    def __init__(self) -> None:
        self.is_open = True
        self.jobs: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    async def run(self, job: Callable[[], Any]) -> Any:
        done: Deferred[Any] = Deferred()
        self.jobs.append((job, done))
        return await done

    def work(self) -> None:
        """The oldest job is done."""
        job, done = self.jobs.pop(0)
        try:
            done.callback(job())
        except Exception as error:
            done.errback(error)


class LookupsTests(SynchronousTestCase):
    """Who waits together is answered together."""

    def setUp(self) -> None:
        self.clock, self.threads = Clock(), Threads()
        self.batches: list[list[str]] = []
        self.error: Exception | None = None
        self.lookups = self.make()

    def make(self, **changes: Any) -> Lookups[str, str]:
        return Lookups(self.clock, self.threads, self.look, **({"bound": 1_000, "jobs": 1} | changes))

    def look(self, questions: Sequence[str]) -> Sequence[str | Exception]:
        self.batches.append(list(questions))
        if self.error is not None:
            raise self.error
        return [KeyError(each) if each.startswith("bad") else each.upper() for each in questions]

    def ask(self, *questions: str) -> list[Deferred[str]]:
        return [Deferred.fromCoroutine(self.lookups.ask(each)) for each in questions]

    def work(self) -> None:
        """The turn ends, a job is done, and everybody has his answer."""
        self.clock.advance(0)
        self.threads.work()
        while self.clock.getDelayedCalls():
            self.clock.advance(0)

    def test_one_turn(self) -> None:
        """Who asks within a turn shares a batch, and each gets his own answer, or the error that is his own."""
        a, bad, b = self.ask("a", "bad", "b")
        self.work()
        self.assertEqual(self.batches, [["a", "bad", "b"]])
        self.assertEqual((self.successResultOf(a), self.successResultOf(b)), ("A", "B"))
        self.failureResultOf(bad, KeyError)
        self.assertEqual((self.lookups.unanswered, self.lookups.lag), (0, 0.0))

    def test_gathering(self) -> None:
        """What comes while a batch is under way is the next one; nobody waits for a batch to be full."""
        (a,) = self.ask("a")
        self.clock.advance(0)
        b, c = self.ask("b", "c")
        self.clock.advance(1)
        self.assertEqual((len(self.threads.jobs), self.lookups.lag), (1, 1.0))
        self.work()
        self.assertEqual(self.successResultOf(a), "A")
        self.work()
        self.assertEqual(self.batches, [["a"], ["b", "c"]])
        self.assertEqual([self.successResultOf(each) for each in (b, c)], ["B", "C"])
        self.assertEqual(self.lookups.counters.longest_wait, 1.0)

    def test_same_question(self) -> None:
        """It is asked once for all who wait for it; one that is being answered is asked anew: things may have
        changed since."""
        first = self.ask("a", "a")
        self.clock.advance(0)
        second = self.ask("a", "a", "a")
        self.work()
        self.assertEqual([self.successResultOf(each) for each in first], ["A", "A"])
        for each in second:
            self.assertNoResult(each)
        self.work()
        self.assertEqual([self.successResultOf(each) for each in second], ["A"] * 3)
        self.assertEqual((self.batches, self.lookups.counters.joined), ([["a"], ["a"]], 3))

    def test_jobs(self) -> None:
        """No more batches than jobs are under way, each of at most so many questions."""
        self.lookups = self.make(jobs=2, most=10)
        answers = self.ask(*map(str, range(25)))
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual((len(self.threads.jobs), self.lookups.room), (2, 20))
        for _ in range(3):
            self.work()
        self.assertEqual([len(batch) for batch in self.batches], [10, 10, 5])
        self.assertEqual([self.successResultOf(each) for each in answers], list(map(str, range(25))))

    def test_bound(self) -> None:
        """Over the bound is refused at once and starts nothing; who was answered makes room."""
        self.lookups = self.make(bound=2)
        self.ask("a", "a")
        self.assertTrue(self.lookups.is_full)
        (refused,) = self.ask("a")
        self.failureResultOf(refused, Busy)
        self.work()
        (taken,) = self.ask("b")
        self.work()
        self.assertEqual(self.successResultOf(taken), "B")
        self.assertEqual((self.lookups.counters.asked, self.lookups.counters.refused), (3, 1))

    def test_closed(self) -> None:
        """Before the start and after the end nobody is looked up."""
        self.threads.is_open = False
        (refused,) = self.ask("a")
        self.failureResultOf(refused, Busy)

    def test_all_fail(self) -> None:
        """What fails for all is told to each, and the next batch is begun."""
        self.error = OSError("away")
        answers = self.ask("a", "b")
        self.work()
        for each in answers:
            self.failureResultOf(each, OSError)
        self.error = None
        (again,) = self.ask("a")
        self.work()
        self.assertEqual(self.successResultOf(again), "A")

    def test_many_answers(self) -> None:
        """They are given a few a turn: events come between."""
        self.lookups.size = 500
        answers = self.ask(*map(str, range(2 * ANSWERS_A_TURN)))
        self.clock.advance(0)
        self.threads.work()
        self.assertEqual(sum(each.called for each in answers), ANSWERS_A_TURN)
        self.clock.advance(0)
        self.assertEqual(sum(each.called for each in answers), 2 * ANSWERS_A_TURN)

    def test_first(self) -> None:
        """The first batches are not large: nobody knows yet how long a question takes here."""
        self.ask(*map(str, range(500)))
        for _ in range(4):
            self.work()
        self.assertEqual([len(batch) for batch in self.batches], [64, 128, 256, 52])

    def test_slow(self) -> None:
        """Where each question takes its time batches get smaller, never less than a few; and grow again."""
        self.lookups.size = 400
        self.lookups._adapt(400, 4 * BATCH_SECONDS)
        self.assertEqual(self.lookups.size, 100)
        self.lookups._adapt(100, 100 * BATCH_SECONDS)
        self.assertEqual(self.lookups.size, LEAST)
        self.lookups._adapt(LEAST - 1, 0.001)
        self.assertEqual(self.lookups.size, LEAST)
        for _ in range(10):
            self.lookups._adapt(self.lookups.size, 0.001)
        self.assertEqual(self.lookups.size, 500)
