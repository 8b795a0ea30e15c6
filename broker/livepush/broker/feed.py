"""The feed of one process: its own queue at the broker, until it ends, whatever becomes of the connection.

    state        until
    -----------  -----------------------------------------------------------------------------------------------------
    stopped      startService
    connecting   the queue is bound and consumed (ready), or the attempt failed or took `open_seconds` (waiting)
    ready        the connection is lost, or its consumer or channel is (waiting)
    waiting      a random time of at least `retry_least` is over (connecting)
    stopping     the connection is closed, within 2 s of stopService (stopped)

Each connection makes a queue of its own with a fresh name, exclusive and auto-delete; what happened meanwhile is not in
it, so after each connection but the first the sink is told `resync` for all channels, after the queue is bound and
before anything out of it.

The hot path is `_deliver`, once a message, and `_end_read`, once a read: the intake handles everything in the step in
which it arrives, so nothing queues up in here. Acknowledgements are cumulative: at the end of the read after
`ack_messages` or `unacked_bytes`, else after `ack_seconds`. This connection publishes nothing: under a memory alarm a
broker stops reading from a connection that does, acknowledgements included.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from livepush.broker import topology
from livepush.broker.amqp import Channel, Connection, ConnectionSettings
from livepush.broker.backoff import Backoff
from livepush.broker.envelope import BODY_BYTES
from livepush.broker.errors import ChannelRefused, ConnectionFailed
from livepush.broker.feedsettings import FeedSettings
from livepush.broker.ingest import IngestSettings
from livepush.broker.intake import Intake, Sink
from livepush.broker.noise import Noise

__all__ = ["Feed", "FeedCounters", "FeedSettings", "State"]

_log = Logger()

CLOSE_SECONDS = 1.5
_TICK_SECONDS = 1.0


class State(StrEnum):
    """See the top of the module."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    READY = "ready"
    WAITING = "waiting"
    STOPPING = "stopping"


@dataclass(slots=True)
class FeedCounters:
    """Since the start: connections that became ready, and attempts that did not."""

    connections: int = 0
    failures: int = 0


class Feed(Service):
    """Receives what Django publishes, and releases it to a sink in order, as long as the service runs.

    Args:
        reactor: TCP and timers.
        settings: see `FeedSettings`.
        sink: gets what is released.
        endpoint: instead of the one that `settings.url` says.

    Attributes:
        counters: of its connections; those of the messages are `intake.counters` and `intake.ingest.counters`.
        trouble: why it is not ready, where that is known.
    """

    name = "livepush feed"

    def __init__(
        self, reactor: Any, settings: FeedSettings, sink: Sink, endpoint: IStreamClientEndpoint | None = None
    ) -> None:
        self.settings = settings
        self.counters = FeedCounters()
        self.trouble: ConnectionFailed | None = None
        self._reactor, self._endpoint = reactor, endpoint
        self._state = State.STOPPED
        self._connection_settings = ConnectionSettings(
            settings.open_seconds, settings.heartbeat, settings.silence_seconds, BODY_BYTES, "livepush daemon"
        )
        self.intake = Intake(sink, reactor, IngestSettings(hole_seconds=settings.hole_seconds))
        self._backoff = Backoff(settings.retry_least, settings.retry_most)
        self._watchers: list[Callable[[bool], None]] = []
        self._noise = Noise()
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._pause: Deferred[None] | None = None
        self._ended: Deferred[None] | None = None
        self._ticker = LoopingCall(self.intake.tick)
        self._ticker.clock = reactor
        self._ack_timer: IDelayedCall | None = None
        self._tag = self._acked = self._unacked_bytes = 0
        self._quiet = False

    # -- for others ----------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether everything that is published now arrives here."""
        return self._state is State.READY

    @property
    def state(self) -> str:
        """A word for humans; `trouble` says why it is not `ready`."""
        return self._state.value

    def watch(self, callback: Callable[[bool], None]) -> None:
        """Calls back with `ready` whenever that changes."""
        self._watchers.append(callback)

    def startService(self) -> None:
        """Begins to connect. A broker that is not there is waited for."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._ended is None:
            self._ended = Deferred()
            self._ticker.start(_TICK_SECONDS, now=False)
            # Never cancelled, never failing: `_run` handles all that can happen, and tells by `_ended`.
            Deferred.fromCoroutine(self._run())

    def stopService(self) -> Deferred[None]:
        """Acknowledges what was handled and closes the connection; within 2 s, whatever the broker does."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._ended is None:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._ended.addCallback(stopped.callback)
        self._acknowledge()
        self._enter(State.STOPPING)
        if self._connection is not None:
            self._connection.close(CLOSE_SECONDS)
        if self._pause is not None:
            self._pause.cancel()
        return stopped

    # -- connecting ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Connects again and again, at most once a `retry_least`."""
        while not self._is_stopping():
            self._enter(State.CONNECTING)
            lost = await self._connect_until_lost()
            self._channel = self._connection = None
            self._stop_ack_timer()
            if self._is_stopping():
                break
            self._report_loss(lost)
            self._enter(State.WAITING)
            await self._wait(self._backoff.next())
        self._ticker.stop()
        self._enter(State.STOPPED)
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.callback(None)

    def _is_stopping(self) -> bool:
        return self._state is State.STOPPING

    async def _connect_until_lost(self) -> ConnectionFailed:
        """One connection, from TCP to its end; returns why it ended."""
        connection = Connection(
            self._reactor, self.settings.url, self._connection_settings, self._end_read, self._endpoint
        )
        self._connection = connection
        self._tag = self._acked = self._unacked_bytes = 0
        try:
            await connection.open()
            queue = await self._open_queue(connection)
            connection.established()
            self._become_ready(queue)
            return await connection.closed
        except ConnectionFailed as problem:
            cause = problem
        except Exception:  # a fault of ours must not end the feed for good
            _log.failure("The feed's connection is given up because of an unexpected error")
            cause = ConnectionFailed("an unexpected error, logged above")
        self.counters.failures += 1
        connection.close(CLOSE_SECONDS)
        await connection.closed
        return cause

    async def _open_queue(self, connection: Connection) -> str:
        """Exchange, queue, bindings, consumer. Returns the queue's name."""
        settings = self.settings
        channel = await self._open_exchange(connection)
        queue = topology.process_queue(socket.gethostname(), settings.instance, secrets.token_hex(6))
        try:
            await channel.declare_process_queue(queue, topology.queue_arguments(settings.queue_length))
            for key in topology.BINDINGS:
                await channel.bind(queue, topology.EXCHANGE, key)
            self._channel = channel
            await channel.consume(queue, settings.prefetch, self._deliver)
        except ChannelRefused as refused:
            remedy = f"user {settings.url.user!r} needs the daemon's rights of broker/rabbitmq/definitions.json"
            raise ConnectionFailed(f"no queue for this process: {refused.code} {refused.text}", remedy) from None
        return queue

    async def _open_exchange(self, connection: Connection) -> Channel:
        """A channel, after it is sure that the exchange is there: a user who may make it does so when it is missing."""
        name, kind = topology.EXCHANGE, topology.EXCHANGE_TYPE
        channel = await connection.channel()
        try:
            await channel.declare_exchange(name, kind, passive=True)
            return channel
        except ChannelRefused as refused:
            if refused.code != 404:
                raise ConnectionFailed(f"no use of exchange {name!r}: {refused.code} {refused.text}") from None
        channel = await connection.channel()
        try:
            await channel.declare_exchange(name, kind, passive=False)
            return channel
        except ChannelRefused as refused:
            user = self.settings.url.user
            cause = f"there is no exchange {name!r}, and user {user!r} may not make it ({refused.code} {refused.text})"
            remedy = "run `manage.py livepush topology` with a user who may"
            raise ConnectionFailed(cause, remedy) from None

    def _become_ready(self, queue: str) -> None:
        """Runs in the step that reads consume-ok, and so before the first message out of the new queue."""
        self._backoff.reset()
        self.trouble = None
        self.counters.connections += 1
        if self.counters.connections > 1:
            self.intake.restart()
        if not self._quiet:
            _log.info("Feed ready: {broker}, queue {queue}", broker=self.settings.url.safe, queue=queue)
        self._enter(State.READY)

    def _report_loss(self, lost: ConnectionFailed) -> None:
        """A loss that repeats is said once a minute, and then its end neither."""
        self.trouble = lost
        kept = self._noise.admit(f"lost {lost.cause}", self._reactor.seconds())
        self._quiet = kept is None
        if kept is not None:
            _log.warn(
                "Feed not ready, trying again: {cause}{remedy}{kept}",
                cause=lost.cause,
                remedy=f"; {lost.remedy}" if lost.remedy else "",
                kept=f" ({kept} more times)" if kept else "",
            )

    def _enter(self, state: State) -> None:
        before, self._state = self._state, state
        if (before is State.READY) != (state is State.READY):
            for callback in list(self._watchers):
                try:
                    callback(state is State.READY)
                except Exception:  # a watcher's fault is not the feed's
                    _log.failure("A watcher of the feed failed")

    async def _wait(self, seconds: float) -> None:
        """Also over when the service stops."""
        timer: IDelayedCall | None = None
        self._pause = Deferred(lambda pause: pause.callback(None))
        timer = self._reactor.callLater(seconds, self._pause.callback, None)
        await self._pause
        self._pause = None
        if timer is not None and timer.active():
            timer.cancel()

    # -- the hot path --------------------------------------------------------------------------------------------------

    def _deliver(self, tag: int, raw: bytes, body: bytes) -> None:
        """One message, from its properties and body to the sink. Whatever it holds, the feed goes on."""
        self._tag = tag
        self._unacked_bytes += len(body)
        self.intake.take(raw, body)

    def _end_read(self) -> None:
        """The end of what one read from the broker brought: one flush, and perhaps one acknowledgement."""
        self.intake.end_read()
        waiting = self._tag - self._acked
        if waiting and self._channel is not None:
            if waiting >= self.settings.ack_messages or self._unacked_bytes >= self.settings.unacked_bytes:
                self._acknowledge()
            elif self._ack_timer is None:
                self._ack_timer = self._reactor.callLater(self.settings.ack_seconds, self._acknowledge_late)

    def _acknowledge(self) -> None:
        self._stop_ack_timer()
        if self._channel is not None and self._tag > self._acked and self._channel.acknowledge(self._tag):
            self._acked, self._unacked_bytes = self._tag, 0

    def _acknowledge_late(self) -> None:
        self._ack_timer = None
        self._acknowledge()

    def _stop_ack_timer(self) -> None:
        timer, self._ack_timer = self._ack_timer, None
        if timer is not None and timer.active():
            timer.cancel()
