"""Queues: bounded, in order, handed out to consumers in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from livepush.broker.embedded.limits import Ledger
from livepush.broker.embedded.message import Message
from livepush.broker.embedded.refusal import PRECONDITION_FAILED, ChannelRefused

if TYPE_CHECKING:
    from livepush.broker.embedded.stream import AnyQueue


class Taker(Protocol):
    """What a queue knows of a consumer."""

    exclusive: bool

    @property
    def ready(self) -> bool:
        """Whether it can take a message now."""

    def deliver(self, queue: AnyQueue, entry: Entry) -> None:
        """Takes one."""

    def cancelled(self) -> None:
        """Its queue is gone."""


class Entry:
    """A message in one queue. `position` keeps its place when it comes back; in a stream it is the offset."""

    __slots__ = ("message", "position", "redelivered")

    def __init__(self, message: Message, position: int) -> None:
        self.message, self.position, self.redelivered = message, position, False


class Bounds:
    """What a queue's arguments say: `x-max-length`, `x-max-length-bytes`, `x-overflow`, and nothing else.

    Raises:
        ChannelRefused: 406 for other arguments and for values that RabbitMQ refuses.
    """

    __slots__ = ("bytes", "length", "rejects")

    def __init__(self, name: str, arguments: Mapping[str, object]) -> None:
        known = {"x-max-length", "x-max-length-bytes", "x-overflow", "x-queue-type"}
        bad = set(arguments) - known
        numbers: list[int | None] = []
        for key in ("x-max-length", "x-max-length-bytes"):
            value = arguments.get(key)
            if value is None and key not in arguments:
                numbers.append(None)
            elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                numbers.append(int(value))
            else:
                bad.add(key)
        overflow = arguments.get("x-overflow", "drop-head")
        if overflow not in ("drop-head", "reject-publish"):
            bad.add("x-overflow")
        if arguments.get("x-queue-type", "classic") != "classic":
            bad.add("x-queue-type")
        if bad:
            listed = ", ".join(f"'{key}'" for key in sorted(map(str, bad)))
            why = f"invalid or (in the embedded broker) unsupported arg {listed} for queue '{name}' in vhost '/'"
            raise ChannelRefused(PRECONDITION_FAILED, why)
        self.length, self.bytes = numbers
        self.rejects = overflow == "reject-publish"


class Queue:
    """A classic queue.

    At its bounds the oldest ready message is dropped, or with `reject-publish` the new one refused. What was delivered
    and not acknowledged does not count against them, as with RabbitMQ.

    Attributes:
        owner: the connection that alone may use it; None if it is not exclusive.
        dropped: messages lost at the bounds.
    """

    __slots__ = (
        "_bounds",
        "_last",
        "_ledger",
        "_ready_bytes",
        "arguments",
        "auto_delete",
        "consumers",
        "deleted",
        "dropped",
        "durable",
        "name",
        "owner",
        "ready",
    )

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        owner: object | None = None,
        arguments: Mapping[str, object] | None = None,
    ) -> None:
        self.name, self.durable, self.auto_delete, self.owner = name, durable, auto_delete, owner
        self.arguments = dict(arguments or {})
        self._bounds = Bounds(name, self.arguments)
        self._ledger = ledger
        self._last = self._ready_bytes = 0
        self.ready: deque[Entry] = deque()
        self.consumers: deque[Taker] = deque()
        self.dropped = 0
        self.deleted = False

    def put(self, message: Message) -> bool:
        """Takes a message and hands it on if a consumer can have it. False if the bounds refuse it."""
        if self._bounds.rejects and self._over(1, len(message.body)):
            self.dropped += 1
            return False
        self._ledger.held += message.cost
        self._last += 1
        self.ready.append(Entry(message, self._last))
        self._ready_bytes += len(message.body)
        self.pump()
        self._trim()
        return True

    def pump(self) -> None:
        """Hands ready messages to consumers, one after another, while any can take one."""
        ready, consumers = self.ready, self.consumers
        while ready and consumers:
            for _ in range(len(consumers)):
                consumer = consumers[0]
                consumers.rotate(-1)
                if consumer.ready:
                    break
            else:
                return
            consumer.deliver(self, self._pop())

    @property
    def count(self) -> int:
        """How many messages are ready."""
        return len(self.ready)

    def start(self, arguments: Mapping[str, object], *, acks: bool, prefetch: int) -> int:
        """Where a consumer with these arguments begins: at the oldest ready message.

        Raises:
            ChannelRefused: 406, there are arguments.
        """
        if arguments:
            raise ChannelRefused(PRECONDITION_FAILED, "consumer arguments in the embedded broker, but for a stream")
        return 0

    def attach(self, consumer: Taker, start: int) -> None:
        """A consumer begins."""
        self.consumers.append(consumer)
        self.pump()

    def detach(self, consumer: Taker) -> None:
        """A consumer ends."""
        self.consumers.remove(consumer)

    def check_get(self) -> None:
        """Messages of a queue can be fetched one by one."""

    def check_reject(self) -> None:
        """They can be given back."""

    def get(self) -> Entry | None:
        """The oldest ready message."""
        return self._pop() if self.ready else None

    def settle(self, entry: Entry) -> None:
        """A message taken out of it needs no keeping any more."""
        self._ledger.held -= entry.message.cost

    def give_back(self, entry: Entry) -> None:
        """A message comes back undone: to its old place, marked as redelivered. The caller pumps.

        Those that come back stand near the front; finding the place costs as many steps as there are older ones.
        """
        if self.deleted:
            self.settle(entry)
            return
        entry.redelivered = True
        ready = self.ready
        index = 0
        for other in ready:
            if other.position > entry.position:
                break
            index += 1
        ready.insert(index, entry)
        self._ready_bytes += len(entry.message.body)
        self._trim()

    def purge(self) -> int:
        """Drops all ready messages and says how many there were."""
        count = len(self.ready)
        while self.ready:
            self.settle(self._pop())
        return count

    def close(self) -> None:
        """It was deleted: its messages go and its consumers are told."""
        self.deleted = True
        self.purge()
        consumers = list(self.consumers)
        self.consumers.clear()
        for consumer in consumers:
            consumer.cancelled()

    def _pop(self) -> Entry:
        entry = self.ready.popleft()
        self._ready_bytes -= len(entry.message.body)
        return entry

    def _over(self, more: int = 0, more_bytes: int = 0) -> bool:
        bounds = self._bounds
        return (bounds.length is not None and len(self.ready) + more > bounds.length) or (
            bounds.bytes is not None and self._ready_bytes + more_bytes > bounds.bytes
        )

    def _trim(self) -> None:
        while self.ready and self._over():
            self.dropped += 1
            self.settle(self._pop())
