"""The feed of one process: its own queue and the log, until it ends, whatever becomes of the connections.

    state        until
    -----------  -----------------------------------------------------------------------------------------------------
    stopped      startService
    connecting   the log is attached (reading), or the attempt failed or took `open_seconds` (waiting)
    reading      the log reader has caught up (binding)
    binding      the own queue is bound and consumed (proving)
    proving      an own marker has come back through the log (ready)
    ready        it shows that the log is not bound (doubtful)
    doubtful     it shows that it is (ready)
    waiting      a random time of at least `retry_least` is over (connecting)
    stopping     the connections are closed, within 2 s of stopService (stopped)

From `reading` to `doubtful`: the connection, a channel or a consumer is lost (waiting). What happens there is decided
by `livepush.broker.attachment`, without a clock or a network; this is what carries it out.

    connection 1, consumes    log reader ----.                     connection 2, publishes      see beacon
                              own queue  ----+--> intake --> sink
                              probe, at a reconnect: where the log ends

Each connection makes a queue of its own with a fresh name, exclusive and auto-delete; what happened meanwhile is not in
it, but in the log, which is read from where it was left. It is bound when the reader has caught up, or its messages
would wait in the ingest for what the log still has before them.

The hot path is `Source.deliver`, once a message, and `_end_read`, once a read: the intake handles everything in the
step in which it arrives, so nothing queues up in here. Acknowledgements are cumulative: at the end of the read after
`ack_messages` or `unacked_bytes`, else after `ack_seconds`.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from livepush.broker.amqp import Connection, ConnectionSettings
from livepush.broker.attachment import Attachment, Phase, Seen, Step
from livepush.broker.backoff import Backoff
from livepush.broker.beacon import Beacon
from livepush.broker.channel import Channel
from livepush.broker.declaring import open_exchanges, open_log, open_queue, read_log
from livepush.broker.doubts import doubtful
from livepush.broker.envelope import BODY_BYTES, Marker
from livepush.broker.errors import ConnectionFailed
from livepush.broker.feedsettings import FeedSettings
from livepush.broker.ingest import IngestSettings
from livepush.broker.intake import Intake, Sink
from livepush.broker.lifeline import Lifeline, State
from livepush.broker.noise import Noise
from livepush.broker.probe import Probe
from livepush.broker.source import Source, Take
from livepush.broker.topology import CHUNK_SECONDS

__all__ = ["Feed", "FeedCounters", "FeedSettings"]

_log = Logger()

CLOSE_SECONDS = 1.5
TICK_SECONDS = 1.0
FORGET_SECONDS = 3600.0
"""The least silence after which a publisher is forgotten: while the log may hold a number of his, he is known."""


@dataclass(slots=True)
class FeedCounters:
    """Since the start: connections that became ready, and attempts that came to nothing."""

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
        intake: what is received goes through it; `intake.log` knows what has been read of the log.
        on_claim: gets each claim that stands in the log, in its order, and whether it is this process's.
    """

    name = "livepush feed"

    def __init__(
        self, reactor: Any, settings: FeedSettings, sink: Sink, endpoint: IStreamClientEndpoint | None = None
    ) -> None:
        self.settings = settings
        self.counters = FeedCounters()
        self.on_claim: Callable[[str, bool], None] | None = None
        self._reactor, self._endpoint = reactor, endpoint
        self._connection_settings = ConnectionSettings(
            settings.open_seconds, settings.heartbeat, settings.silence_seconds, BODY_BYTES, "livepush daemon"
        )
        ingest_settings = IngestSettings(
            hole_seconds=settings.hole_seconds,
            publisher_seconds=max(FORGET_SECONDS, settings.log_seconds + settings.ring_seconds + CHUNK_SECONDS),
        )
        self.intake = Intake(sink, reactor, ingest_settings, self._meet)
        self._nonce = secrets.token_hex(6)
        self._attachment = Attachment(settings.marker_seconds, settings.beat_seconds, random.random)
        self._backoff = Backoff(settings.retry_least, settings.retry_most)
        self._lifeline = Lifeline(reactor, self._connect, self._use, self._lose, self._backoff, self._settle)
        self._beacon = Beacon(
            reactor, self._connect_second, settings.url.user, self._nonce, self._attachment.markers,
            Backoff(settings.retry_least, settings.retry_most),
        )  # fmt: skip
        self._ready = self._attached_anew = self._quiet = False
        self._reported = ""
        self._queue = ""
        self._lost: ConnectionFailed | None = None
        self._watchers: list[Callable[[bool], None]] = []
        self._noise = Noise()
        self._sources: list[Source] = []
        self._probe: Probe | None = None
        self._start_overs = 0
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = reactor
        self._ack_timer: IDelayedCall | None = None

    # -- for others ----------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether everything that is published now arrives here."""
        return self._ready

    @property
    def state(self) -> str:
        """A word for humans, see the top of the module; `trouble` says why it is not `ready`."""
        attached = self._lifeline.state in (State.CONNECTING, State.CONNECTED)
        phase = self._attachment.phase
        return phase.value if attached and phase is not Phase.ABSENT else self._lifeline.state.value

    @property
    def trouble(self) -> ConnectionFailed | None:
        """Why it is not ready, where that is known."""
        if self._ready:
            return None
        doubt = self._attachment.doubt
        return self._lost if doubt is None else doubtful(doubt, self._beacon.blocked, self._beacon.trouble)

    def watch(self, callback: Callable[[bool], None]) -> None:
        """Calls back with `ready` whenever that changes."""
        self._watchers.append(callback)

    def claim(self, claim: str) -> bool:
        """Claims something for this process: `on_claim` is called when it stands in the log. False: too many wait."""
        return self._beacon.claim(claim)

    def startService(self) -> None:
        """Begins to connect. A broker that is not there is waited for."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._lifeline.state is State.STOPPED:
            self._ticker.start(TICK_SECONDS, now=False)
            self._lifeline.start()
            self._beacon.start()

    def stopService(self) -> Deferred[None]:
        """Acknowledges what was handled and closes the connections; within 2 s, whatever the broker does."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._ticker.running:
            self._ticker.stop()
        self._acknowledge_late()
        self._attachment.lost()
        ended = [self._lifeline.stop(CLOSE_SECONDS), self._beacon.stop(CLOSE_SECONDS)]
        return gatherResults(ended).addCallback(lambda _: self._drop_sources())

    # -- the connection that consumes ----------------------------------------------------------------------------------

    def _connect(self) -> Connection:
        settings = self._connection_settings
        return Connection(self._reactor, self.settings.url, settings, self._end_read, self._endpoint)

    def _connect_second(self) -> Connection:
        settings = self._connection_settings
        return Connection(self._reactor, self.settings.url, settings, lambda: None, self._endpoint)

    async def _use(self, connection: Connection) -> None:
        """The log first, from where it was left."""
        self._start_overs, self._attached_anew = self.intake.counters.start_overs, True
        await open_exchanges(connection, self.settings.url.user)
        await self._read_log(connection)
        connection.established()
        self._beacon.hurry()

    async def _read_log(self, connection: Connection) -> None:
        """Attaches the reader, and a probe where there is an offset to be doubted."""
        last = self.intake.log.last
        at = last if last >= 0 else None
        self.intake.forget_unlocated()
        if at is not None:
            self.intake.expect(at)
        channel = await open_log(connection, self.settings)
        source = self._add_source(channel, self.intake.take_logged, self.intake.take_marker)
        offset = f"{round(self.settings.ring_seconds + CHUNK_SECONDS)}s" if at is None else at
        await read_log(channel, self.settings.prefetch, offset, source.deliver, source.deliver_foreign)
        if at is not None:
            self._probe = Probe(await connection.channel(), self._nonce, self._find)
            await self._probe.start()
        self._take_steps(self._attachment.attached(at, self._reactor.seconds()))

    async def _bind(self, connection: Connection) -> None:
        """The own queue, when the reader has caught up."""
        self._end_probe()
        connection.limit()
        channel = await connection.channel()
        source = self._add_source(channel, self.intake.take_queued)
        self._queue = await open_queue(channel, self.settings, source.deliver)
        connection.established()
        self._take_steps(self._attachment.bound(self._reactor.seconds()))

    async def _start_over(self, connection: Connection) -> None:
        """The log is another one than before: it is read as at the start."""
        self._drop_sources()
        self.intake.start_over("the log was made anew")
        connection.limit()
        await self._read_log(connection)
        connection.established()

    def _add_source(self, channel: Channel, take: Take, take_foreign: Take | None = None) -> Source:
        source = Source(self.settings, channel, take, take_foreign)
        self._sources.append(source)
        return source

    def _drop_sources(self) -> None:
        """Of a connection that goes on, or of one that has ended."""
        self._end_probe()
        for source in self._sources:
            source.close()
        self._sources.clear()
        if self._ack_timer is not None and self._ack_timer.active():
            self._ack_timer.cancel()
        self._ack_timer = None

    def _end_probe(self) -> None:
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.stop()

    def _lose(self, lost: ConnectionFailed) -> None:
        """An attempt failed or the connection ended."""
        self.counters.failures = self._lifeline.failures
        self._lost = lost
        self._attachment.lost()
        self._drop_sources()
        self._settle()
        self._report(lost)

    # -- what the attachment decides -----------------------------------------------------------------------------------

    def _take_steps(self, steps: list[Step]) -> None:
        """Carries out what the attachment wants, and tells what has become of it."""
        connection = self._lifeline.connection
        for step in steps:
            if step is Step.SEND:
                self._beacon.send(beat=self._attachment.ready)
            elif step is Step.FORGET:
                self.intake.forget_unlocated()
            elif connection is None:
                continue
            elif step is Step.BIND:
                self._perform(connection, self._bind(connection))
            elif step is Step.START_OVER:
                self._perform(connection, self._start_over(connection))
            elif step is Step.ABANDON:
                connection.abort(self.trouble or ConnectionFailed("the log shows nothing"))
        self._settle()

    def _perform(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        """Its end, if it fails, is that of the connection."""

        async def run() -> None:
            try:
                await work
            except ConnectionFailed as problem:
                connection.abort(problem)
            except Exception:  # a fault of ours must not end the feed for good
                _log.failure("The feed's connection is given up because of an unexpected error")
                connection.abort(ConnectionFailed("an unexpected error, logged above"))

        Deferred.fromCoroutine(run())

    def _meet(self, marker: Marker, _offset: int) -> None:
        """The reader met a marker, of whatever process."""
        if self.on_claim is not None:
            for claim in marker.claims:
                self.on_claim(claim, marker.process == self._nonce)
        if marker.process == self._nonce:
            self._take_steps(self._attachment.met(marker.number, self._reactor.seconds()))

    def _find(self, number: int, offset: int) -> None:
        """The probe met an own marker."""
        self._take_steps(self._attachment.probed(number, offset))

    def _tick(self) -> None:
        self.intake.tick()
        seen = Seen(self.intake.log.last, self.intake.counters.logged, self.intake.unlocated_since)
        self._take_steps(self._attachment.tick(seen, self._reactor.seconds()))
        trouble = self.trouble
        if trouble is not None and self._lifeline.state is State.CONNECTED:
            self._report(trouble)

    def _settle(self) -> None:
        """Tells when `ready` has changed."""
        ready = self._attachment.ready and self._lifeline.state in (State.CONNECTING, State.CONNECTED)
        if ready is self._ready:
            return
        self._ready = ready
        if ready:
            self._become_ready()
        for callback in list(self._watchers):
            try:
                callback(ready)
            except Exception:  # a watcher's fault is not the feed's
                _log.failure("A watcher of the feed failed")

    def _become_ready(self) -> None:
        self._backoff.reset()
        self._lost = None
        if self._attached_anew:
            self._attached_anew = False
            self.counters.connections += 1
            if self.counters.connections > 1 and self.intake.counters.start_overs == self._start_overs:
                self.intake.reconnected()
        if not self._quiet:
            _log.info("Feed ready: {broker}, queue {queue}", broker=self.settings.url.safe, queue=self._queue)
        self._quiet, self._reported = False, ""

    def _report(self, trouble: ConnectionFailed) -> None:
        """What repeats is said once a minute, and then its end neither."""
        kept = self._noise.admit(f"lost {trouble.cause}", self._reactor.seconds())
        if trouble.cause != self._reported:
            self._quiet, self._reported = kept is None, trouble.cause
        if kept is not None:
            _log.warn(
                "Feed not ready, trying again: {cause}{remedy}{kept}",
                cause=trouble.cause,
                remedy=f"; {trouble.remedy}" if trouble.remedy else "",
                kept=f" ({kept} more times)" if kept else "",
            )

    # -- acknowledgements ----------------------------------------------------------------------------------------------

    def _end_read(self) -> None:
        """The end of what one read from the broker brought: one flush, and perhaps one acknowledgement a source."""
        self.intake.end_read()
        later = False
        for source in self._sources:
            later = source.acknowledge(late=False) or later
        if later and self._ack_timer is None:
            self._ack_timer = self._reactor.callLater(self.settings.ack_seconds, self._acknowledge_late)

    def _acknowledge_late(self) -> None:
        if self._ack_timer is not None and self._ack_timer.active():
            self._ack_timer.cancel()
        self._ack_timer = None
        for source in self._sources:
            source.acknowledge(late=True)
