"""Whether the promise was kept: pure, from what was published and what each client was told.

    violation   what it says
    ---------   ---------------------------------------------------------------------------------------------------
    lost        an event that was promised to this client is missing, and no `resync` tells it so in time
    duplicate   the page was given an event twice
    reordered   of one publisher, the page was given an earlier event after a later one, or dropped as seen what it
                had never been given
    forbidden   this client may not know the event
    invented    nobody published it, it was rolled back, or it is not the one it says it is
    stale       of one key, the page was given an older version after a newer one
    needless    a `resync` of a reason, from a daemon and at a time where everything could have been replayed

A page may be told to reload although it misses nothing only where the specification has no other answer: a daemon that
finds another log, or one that begins behind a page's position, can prove nothing of any channel (`restart`, `trimmed`);
a number that nobody can find might be any channel's (`hole`). Each fault says which of these it is answered by, and
whether by all daemons or by one. Where nothing of the kind was done, no resync is right: `slow` and `publisher` come
from bounds that a soak stays below, and `back` from rights, which nobody changes here.

An event is promised when the broker confirmed it, or, durable, when its transaction was committed, and it was begun
after the client's first grant of its channel. A missing one is excused

- by a `resync` of its channel that came after it was begun (what the page then loads holds it), and before any later
  event of the same publisher on that channel;
- by a later version of its key that the client was given.

What was neither confirmed nor refused (its process was killed, the broker never answered) may arrive or not. The number
of an event that its publisher never knew (an outbox's) is learnt from any client that was given it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.soak.record import Line, Log, Publication

KINDS = ("lost", "duplicate", "reordered", "forbidden", "invented", "stale", "needless")
MAY_ALWAYS: Callable[[Line], bool] = lambda _: True  # noqa: E731 - a value, given in place of another

Number = tuple[str, int]


class Violation(NamedTuple):
    """One broken promise.

    Attributes:
        kind: one of `KINDS`.
        t: when: the missing event's begin, or when the client was told.
        tab: which client.
        channel: where.
        name: of the event; why, of a resync.
        what: a sentence.
    """

    kind: str
    t: float
    tab: str
    channel: str
    name: str
    what: str


@dataclass(slots=True)
class Verdict:
    """All that was found.

    Attributes:
        violations: in no particular order.
        delivered, replayed, dropped, resyncs: events given to pages; of them, out of the past; copies that pages
            dropped as seen; reloads that pages were told.
        due: events times clients that were promised.
        missing: of them, those that a resync excuses.
    """

    violations: list[Violation] = field(default_factory=list)
    delivered: int = 0
    replayed: int = 0
    dropped: int = 0
    resyncs: int = 0
    due: int = 0
    missing: int = 0

    @property
    def counts(self) -> Counter[str]:
        """Violations by kind."""
        return Counter(violation.kind for violation in self.violations)


def check(
    published: Mapping[str, Publication], logs: Sequence[Log], may_resync: Callable[[Line], bool] = MAY_ALWAYS
) -> Verdict:
    """Compares what was published with what was told.

    Args:
        published: by name, all that anybody has published.
        logs: all clients'.
        may_resync: whether something was going on at its time that this line, a resync, is a right answer to.
    """
    numbers = learn_numbers(published, logs)
    by_channel: dict[str, list[Publication]] = defaultdict(list)
    for event in sorted(published.values(), key=lambda each: each.t):
        by_channel[event.channel].append(event)
    verdict = Verdict()
    for log in logs:
        _Judge(log, published, numbers, may_resync, verdict).judge(by_channel)
    return verdict


def learn_numbers(published: Mapping[str, Publication], logs: Sequence[Log]) -> dict[str, Number]:
    """The number of each event, by its name: from its publisher, else from the first client that was given it."""
    numbers = {name: number for name, event in published.items() if (number := parse(event.id or "")) is not None}
    for log in logs:
        for line in log.lines:
            if line.name and line.name not in numbers and (number := parse(line.id)) is not None:
                numbers[line.name] = number
    return numbers


def parse(id_: str) -> Number | None:
    """`<publisher>-<number>` in its two parts; None: it is no such text."""
    publisher, _, number = id_.rpartition("-")
    return (publisher, int(number)) if publisher and number.isdecimal() else None


class _Judge:
    """One client's log, gone through once."""

    def __init__(
        self,
        log: Log,
        published: Mapping[str, Publication],
        numbers: Mapping[str, Number],
        may_resync: Callable[[Line], bool],
        verdict: Verdict,
    ) -> None:
        self.log, self.client, self.verdict = log, log.client, verdict
        self.published, self.numbers, self.may_resync = published, numbers, may_resync
        self.given: dict[str, int] = {}  # name -> place in the log
        self.outdated: set[str] = set()
        self.highest: dict[tuple[str, str], int] = {}  # channel, publisher -> number
        self.versions: dict[tuple[str, str], int] = {}  # channel, key -> version
        self.granted: dict[str, float] = {}  # channel -> when first
        self.reloads: dict[str, list[tuple[int, float]]] = defaultdict(list)  # channel -> (place, time)
        self.events: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(
            list
        )  # channel, publisher -> number, place

    def judge(self, by_channel: Mapping[str, Sequence[Publication]]) -> None:
        for place, line in enumerate(self.log.lines):
            if line.what == "resync":
                self._resync(place, line)
            elif line.what == "granted":
                self.granted.setdefault(line.channel, line.t)
            elif line.what in ("event", "dropped", "outdated"):
                self._told(place, line)
        for channel, since in self.granted.items():
            for event in by_channel.get(channel, ()):
                if event.promised and event.t > since and self.client.may_know(event):
                    self._due(event)

    def _resync(self, place: int, line: Line) -> None:
        self.verdict.resyncs += 1
        self.reloads[line.channel].append((place, line.t))
        if not self.may_resync(line):
            self._say(
                "needless",
                line,
                f"a resync ({line.why}, from the daemon at {line.where}) of which nothing is the cause",
            )

    def _told(self, place: int, line: Line) -> None:
        """Everything that is judged of one event by itself and by what came before it."""
        event, number = self.published.get(line.name), parse(line.id)
        for lie in self._lies(line, event, number):
            self._say("invented", line, lie)
        if event is not None and not self.client.may_know(event):
            self._say("forbidden", line, f"{line.name} ({line.id}) is not for {self.client}")
        if line.what == "dropped":
            self.verdict.dropped += 1
            if line.name not in self.given and line.name not in self.outdated:
                self._say("reordered", line, f"{line.name} ({line.id}) was dropped as seen, and had never been given")
            return
        if number is not None:
            self._in_order(place, line, *number)
        if line.what == "outdated":
            self.outdated.add(line.name)
            return
        self.verdict.delivered += 1
        self.verdict.replayed += line.replayed
        if line.name in self.given:
            self._say("duplicate", line, f"{line.name} ({line.id}) was given before, at line {self.given[line.name]}")
        self.given[line.name] = place
        if event is not None and event.key is not None and event.version is not None:
            newest = self.versions.get((line.channel, event.key), event.version)
            if event.version < newest:
                self._say("stale", line, f"{line.name} is version {event.version} of {event.key}, after {newest}")
            self.versions[line.channel, event.key] = max(newest, event.version)

    def _lies(self, line: Line, event: Publication | None, number: Number | None) -> Iterator[str]:
        if event is None:
            yield f"{line.name!r} ({line.id}) was published by nobody"
            return
        if event.channel != line.channel:
            yield f"{line.name} was published on {event.channel}"
        if event.void:
            yield f"{line.name} ({line.id}) was {event.outcome}"
        if number is None or self.numbers.get(line.name) != number:
            yield f"{line.name} came as {line.id!r}, and is {self.numbers.get(line.name)}"

    def _in_order(self, place: int, line: Line, publisher: str, number: int) -> None:
        before = self.highest.get((line.channel, publisher), 0)
        if number < before:
            self._say("reordered", line, f"{line.name} ({line.id}) came after number {before}")
        self.highest[line.channel, publisher] = max(before, number)
        self.events[line.channel, publisher].append((number, place))

    def _due(self, event: Publication) -> None:
        """An event that this client must have been given, or told to reload for."""
        self.verdict.due += 1
        if event.name in self.given:
            return
        if event.key is not None and event.version is not None:
            newest = self.versions.get((event.channel, event.key), -1)
            if newest > event.version:
                return
        number = self.numbers.get(event.name)
        later = len(self.log.lines)
        if number is not None:
            rows = self.events.get((event.channel, number[0]), [])
            later = min((place for other, place in rows if other > number[1]), default=later)
        reloads = self.reloads.get(event.channel, [])
        index = bisect_left([t for _, t in reloads], event.t)
        if index < len(reloads) and reloads[index][0] < later:
            self.verdict.missing += 1
            return
        then = self.log.lines[later] if later < len(self.log.lines) else None
        behind = (
            "nothing later came" if then is None else f"{then.name} ({then.id}) came at {then.t:.3f} without a resync"
        )
        what = f"{event.name} ({'-'.join(map(str, number)) if number else 'no number'}, {event.outcome}): {behind}"
        self.verdict.violations.append(Violation("lost", event.t, self.client.tab, event.channel, event.name, what))

    def _say(self, kind: str, line: Line, what: str) -> None:
        self.verdict.violations.append(
            Violation(kind, line.t, self.client.tab, line.channel, line.name or line.why, what)
        )
