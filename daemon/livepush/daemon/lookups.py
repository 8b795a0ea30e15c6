"""Look-ups that wait for a thread: those of one turn go together, a batch at a time, and each asker gets its answer.

What arrives while all jobs are under way gathers, so that a site whose pages all come back at once is read in as many
queries as there are batches, and a single page is looked up at once. A question that waits already is not asked twice;
one that is being answered is: its answer may be older than what makes the second one ask.

    a batch           holds at most `most` questions, and fewer where they take longer than `BATCH_SECONDS` together:
                      site code that asks its database for each user would hold up everybody else of its batch
    answers           are given `ANSWERS_A_TURN` at a time, so that events are not held up by them

Bound: `bound` unanswered askers. One more is refused with `Busy`, and nothing is started.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from livepush.daemon.errors import Busy

MOST = 500
"""Questions of one batch: few queries for many, and less than any database's bound of a list."""

FIRST = 64
"""Questions of the first batches, until it shows how fast they are."""

LEAST = 8
BATCH_SECONDS = 0.25
ANSWERS_A_TURN = 50

Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")
T = TypeVar("T")


class Threads(Protocol):
    """Where batches run; see `livepush.daemon.pool.Pool`."""

    @property
    def is_open(self) -> bool:
        """Whether it takes jobs."""

    def run(self, job: Callable[[], T]) -> Coroutine[Deferred[Any], Any, T]:
        """What the job returns or raises; `Busy`: it was not begun."""


@dataclass(slots=True)
class LookupCounters:
    """Since the start: questions that were asked, those of them that joined one that waited, refused ones, batches, and
    the longest time that an asker has waited for a batch to begin, seconds."""

    asked: int = 0
    joined: int = 0
    refused: int = 0
    batches: int = 0
    longest_wait: float = 0.0


@dataclass(slots=True)
class _Waiting(Generic[A]):
    since: float
    askers: list[Deferred[A]] = field(default_factory=list)


class Lookups(Generic[Q, A]):
    """The look-ups of one kind.

    Args:
        clock: the reactor.
        threads: that do the work.
        look: answers a batch, in a thread: for each question its answer or, as a value, the error that is its own. What
            it raises is everybody's.
        bound: unanswered askers.
        jobs: batches under way at a time.
        most: questions of a batch.

    Attributes:
        counters: since the start.
        size: questions of the next batch, as many as the last ones' speed allows.
    """

    def __init__(
        self,
        clock: IReactorTime,
        threads: Threads,
        look: Callable[[Sequence[Q]], Sequence[A | Exception]],
        bound: int,
        jobs: int,
        most: int = MOST,
    ) -> None:
        self.counters = LookupCounters()
        self.size = min(FIRST, most)
        self._clock, self._threads, self._look = clock, threads, look
        self._bound, self._jobs, self._most = bound, jobs, most
        self._waiting: dict[Q, _Waiting[A]] = {}
        self._askers = self._running = 0
        self._begins: IDelayedCall | None = None

    @property
    def unanswered(self) -> int:
        """How many askers wait, for a thread or for its answer."""
        return self._askers

    @property
    def is_full(self) -> bool:
        """Whether one more would be refused."""
        return self._askers >= self._bound

    @property
    def room(self) -> int:
        """How many questions can be under way at once: more would only wait here."""
        return self.size * self._jobs

    @property
    def lag(self) -> float:
        """For how long the oldest question has waited for a thread, seconds; 0: none does."""
        oldest = next(iter(self._waiting.values()), None)
        return 0.0 if oldest is None else self._clock.seconds() - oldest.since

    async def ask(self, question: Q) -> A:
        """The answer.

        Raises:
            Busy: too many are waiting, or it is the end.
            Exception: what the answer is instead.
        """
        counters = self.counters
        if self.is_full or not self._threads.is_open:
            counters.refused += 1
            raise Busy
        counters.asked += 1
        self._askers += 1
        waiting = self._waiting.get(question)
        if waiting is None:
            waiting = self._waiting[question] = _Waiting(self._clock.seconds())
        else:
            counters.joined += 1
        answer: Deferred[A] = Deferred()
        waiting.askers.append(answer)
        self._begin_soon()
        return await answer

    def _begin_soon(self) -> None:
        """At the end of this turn, so that those who ask within it share a batch."""
        if self._begins is None and self._waiting and self._running < self._jobs:
            self._begins = self._clock.callLater(0, self._begin)

    def _begin(self) -> None:
        self._begins = None
        batch = {question: self._waiting.pop(question) for question in list(islice(self._waiting, self.size))}
        self._running += 1
        counters = self.counters
        counters.batches += 1
        counters.longest_wait = max(
            counters.longest_wait, self._clock.seconds() - min(each.since for each in batch.values())
        )
        Deferred.fromCoroutine(self._perform(batch))
        self._begin_soon()

    async def _perform(self, batch: dict[Q, _Waiting[A]]) -> None:
        questions = list(batch)
        answers: Sequence[A | Exception]
        try:
            answers, seconds = await self._threads.run(lambda: self._timed(questions))
        except Exception as error:  # theirs, each for himself; each says what becomes of it
            answers = [error] * len(questions)
        else:
            self._adapt(len(questions), seconds)
        self._running -= 1
        self._begin_soon()
        given = zip(batch.values(), answers, strict=True)
        self._give([(asker, answer) for waiting, answer in given for asker in waiting.askers])

    def _timed(self, questions: Sequence[Q]) -> tuple[Sequence[A | Exception], float]:
        begun = time.monotonic()  # the thread's own: what it waited for its turn is not its speed
        return self._look(questions), time.monotonic() - begun

    def _adapt(self, questions: int, seconds: float) -> None:
        if seconds > BATCH_SECONDS:
            self.size = min(self.size, max(LEAST, int(questions * BATCH_SECONDS / seconds)))
        elif questions >= self.size:
            self.size = min(self._most, 2 * self.size)

    def _give(self, answers: list[tuple[Deferred[A], A | Exception]]) -> None:
        for asker, answer in answers[:ANSWERS_A_TURN]:
            self._askers -= 1
            if isinstance(answer, Exception):
                asker.errback(answer)
            else:
                asker.callback(answer)
        if len(answers) > ANSWERS_A_TURN:
            self._clock.callLater(0, self._give, answers[ANSWERS_A_TURN:])
