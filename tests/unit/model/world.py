"""A world of the product's own pure cores, driven by a schedule, and the promises that must hold whatever happens.

    workers          livepush.broker.backlog.Backlog                      numbers, low, go-back-N, refusals, overflow
    relays           livepush.broker.relay, django.relaying.Relaying      numbers of rows, fenced by a lease
    broker           a double                                             delays, drop-head, nacks, restarts, a new log
    processes        broker.attachment, intake, ingest, logindex          one ingest of two sources, readiness
                     daemon.hub, connection, history                      ring, positions, suspension, pending lists
    browsers         tests.clients.page                                   the rules of livepush.js

A *schedule* is a list of (action, integer). An action that is not possible changes nothing, so any part of a schedule
is a schedule: that is how a trace is made short. When it ends, all faults stop, everybody does what he can until
nothing is left to do, and the promises of the delivery specification are judged: see `checks`.

Time is virtual and only `advance` moves it. `step` is the finer order that the checks go by.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from twisted.internet.task import Clock

from livepush.broker import strictjson
from livepush.broker.backlog import Copy, Draft
from livepush.broker.envelope import IDENTITY, Control, Event, Kind, encode_event
from livepush.broker.names import event_key
from tests.unit.model.broker import Broker, Record
from tests.unit.model.front import PADDING, Front, Job, Message, Seat, make_directory
from tests.unit.model.process import Process
from tests.unit.model.publishers import RelayProcess, Sender, Store, Worker
from tests.unit.model.visitor import Visitor

CHANNELS, USERS = ("x", "y"), ("ann", "bob")
POISON = "poison"
DIRECTORY = make_directory(CHANNELS, declared=CHANNELS[:1])
Schedule = list[tuple[str, int]]


@dataclass(slots=True)
class Fact:
    """Something that was published, and that whoever is connected and entitled has to hear of.

    Attributes:
        kind: `event`, `resync` (must be told as a reload), `lost` (a full backlog: likewise).
        step: when it was committed.
        key, version: a newer version of the key stands for it.
    """

    kind: Kind | str
    publisher: str
    number: int
    channel: str
    step: int
    key: str = ""
    version: int = 0

    @property
    def id(self) -> tuple[str, int]:
        """Publisher and number."""
        return self.publisher, self.number


@dataclass(frozen=True, slots=True)
class Revocation:
    """A right that was taken away, and the control that says so; without a publisher: a change that sends no signal."""

    publisher: str
    number: int
    step: int


class World:
    """Everything. Actions are the methods `do_*`, in `actions`."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.step = 0
        self.broker = Broker(self.clock.seconds, self._safe, lambda copy: copy.key.endswith(POISON))
        self.store = Store()
        self.facts: dict[tuple[str, int], Fact] = {}
        self.lost: list[Fact] = []
        self.safe: set[tuple[str, int]] = set()
        self.unlogged: set[tuple[str, int]] = set()
        self.void: set[tuple[str, int]] = set()
        self.overtaken: set[tuple[str, int]] = set()
        self.granted: dict[tuple[str, str], int] = {(user, channel): 0 for user in USERS for channel in CHANNELS}
        self.revoked: dict[tuple[str, str], Revocation] = {}
        self.leaks: list[str] = []
        self.received: dict[tuple[Process, str, int], int] = {}
        self._durable: dict[str, int] = {}  # payload of a durable event: when it was committed
        self._versions: Counter[tuple[str, str]] = Counter()
        self._names: Counter[str] = Counter()
        self._payloads = 0
        self.workers = [Worker(self.fresh("web"), self.broker, self.clock.seconds) for _ in range(2)]
        self.relays = [RelayProcess(self.store, self.broker, self.clock.seconds)]
        self.processes = [
            Process(name, self.broker, self.clock, self.fresh, self._make_front, self._heard) for name in ("P1", "P2")
        ]
        self.visitors = [
            Visitor("ann1", "ann", CHANNELS, lambda: self.step),
            Visitor("bob1", "bob", CHANNELS, lambda: self.step),
            Visitor("ann2", "ann", CHANNELS[:1], lambda: self.step),
        ]

    # -- what others ask -----------------------------------------------------------------------------------------------

    def fresh(self, what: str) -> str:
        """A name that nothing had before."""
        self._names[what] += 1
        return f"{what}{self._names[what]}"

    @property
    def senders(self) -> list[Sender]:
        """All who publish."""
        return [*self.workers, *self.relays]

    @property
    def seats(self) -> list[Seat]:
        """All connections that their page still listens to."""
        return [seat for visitor in self.visitors for seat in visitor.seats]

    @property
    def jobs(self) -> list[Job]:
        """All identifications under way."""
        return [job for process in self.processes if process.alive for job in process.front.database.jobs]

    def entitled(self, user: str) -> frozenset[str]:
        """What the database says."""
        return frozenset(channel for channel in CHANNELS if (user, channel) in self.granted)

    def overtake(self, record: Record) -> None:
        """A record leaves the log. Of a publisher that a process knows, it finds the hole; of another one it can't.

        So the promises assume that an attached reader is never behind by all that the log keeps, which is ten minutes.
        """
        stamp = record.copy.stamp
        for process in self.processes:
            behind = process.reader is not None and process.reader <= record.offset
            if stamp is not None and behind and process.intake.ingest.is_new(stamp._replace(number=1, low=1)):
                self.overtaken.add((stamp.publisher, stamp.number))

    # -- commits -------------------------------------------------------------------------------------------------------

    def publish(self, worker: Worker, channel: str, *, poison: bool = False, key: str | None = None) -> None:
        """A worker commits an event; with a key it has that key's next version."""
        draft, version = self._draft(channel, poison, key)
        id = worker.commit(draft)  # noqa: A001 - the word of the wire
        if id is None:
            self.lost.append(Fact("lost", worker.name, 0, channel, self.step))
        else:
            self._note(Fact(Kind.EVENT, *_split(id), channel, self.step, key or "", version))

    def publish_durable(self, channel: str, *, poison: bool = False) -> None:
        """A transaction writes a row of the outbox."""
        draft, _ = self._draft(channel, poison, None)
        self.store.insert(draft)
        self._durable[draft.body.decode()] = self.step

    def change(self, worker: Worker, user: str, channel: str, *, group: bool = False, signal: bool = True) -> None:
        """A right is taken away, or given back, and the control is committed with it."""
        key = user, channel
        id = None  # noqa: A001
        if signal:
            id = worker.commit(Draft.of_control(Control(IDENTITY, None if group else user)))  # noqa: A001
        if key in self.granted:
            del self.granted[key]
            self.revoked[key] = Revocation(*(_split(id) if id else ("", 0)), self.step)
        else:
            self.granted[key] = self.step
            self.revoked.pop(key, None)

    def _draft(self, channel: str, poison: bool, key: str | None) -> tuple[Draft, int]:
        self._payloads += 1
        version = 0
        if key is not None:
            self._versions[channel, key] += 1
            version = self._versions[channel, key]
        type_ = POISON if poison else "tick"
        event = Event(
            channel, type_, {"n": self._payloads, "padding": PADDING}, key=key, version=version if key else None
        )
        return Draft(Kind.EVENT, event_key(channel, type_), encode_event(event), channel), version

    def _note(self, fact: Fact) -> None:
        self.facts.setdefault(fact.id, fact)

    # -- what the world sees -------------------------------------------------------------------------------------------

    def _safe(self, copy: Copy, logged: bool) -> None:
        """The broker confirms a copy."""
        if copy.stamp is None:
            return
        id = copy.stamp.publisher, copy.stamp.number  # noqa: A001
        if not logged:
            self.unlogged.add(id)
        if copy.kind is Kind.VOID:
            self.void.add(id)
        elif copy.kind is Kind.RESYNC:
            record = strictjson.loads(copy.body, 4)
            self._note(Fact(Kind.RESYNC, *id, record["channel"] or "", self.step))
        elif id not in self.facts and copy.kind is Kind.EVENT:
            step = self._durable[copy.body.decode()]
            self._note(Fact(Kind.EVENT, *id, copy.key.split(".")[1], step))
        self.safe.add(id)

    def _heard(self, process: Process, copy: Copy) -> None:
        if copy.kind is Kind.CONTROL and copy.stamp is not None:
            self.received[process, copy.stamp.publisher, copy.stamp.number] = self.step

    def _make_front(self, nonce: str) -> Front:
        return Front(self.clock, nonce, DIRECTORY, lambda: self.step, self._wrote)

    def _wrote(self, seat: Seat, message: Message) -> None:
        """A message is handed to a transport. A violation can't be raised here: the hub would drop the connection."""
        if message["op"] == "event":
            self._check_leak(seat, message)

    def _check_leak(self, seat: Seat, message: Message) -> None:
        key = seat.user, message["channel"]
        revocation = self.revoked.get(key)
        if key in self.granted or revocation is None or not revocation.publisher:
            return
        publisher, number = _split(message["id"])
        control = revocation.publisher, revocation.number
        process = next(each for each in self.processes if each.front is seat.front)
        received = self.received.get((process, *control), -1) >= revocation.step
        fact = self.facts.get((publisher, number))
        follows = publisher == control[0] and fact is not None and fact.step >= revocation.step
        if received or (follows and control not in self.unlogged | self.overtaken):
            why = "the process had the revocation" if received else "it follows the revocation on its publisher"
            self.leaks.append(f"leak: {message['id']} on {message['channel']} to {seat.user}: {why}")


def _split(id: str) -> tuple[str, int]:  # noqa: A002 - the word of the wire
    publisher, _, number = id.rpartition("-")
    return publisher, int(number)
