"""One AMQP connection in Twisted, for whoever consumes: opened by a deadline, watched, and ended with a cause.

pika speaks the protocol; this is the ~40 lines that its own Twisted adapter consists of, over the same documented hooks
of `pika.connection.Connection` (`internal_connection_workflow=False`), for what that adapter can't do: it drops the
broker's reason for a refusal, leaves errors unhandled when a connection dies early, breaks when one of its Deferreds is
cancelled, installs a reactor when it is imported, and goes with pika 2. No module but this and `channel`
may touch pika's hooks, or the adapter.

    Connection(reactor, url, settings, on_read)
      open()           TCP, TLS, AMQP up to "connection open"; then channel(), see `livepush.broker.channel`
      established()    the deadline is over
      close(seconds)   politely, then hard
      closed           fires once with the ConnectionFailed that says why, however the connection ends

A connection never ends with an unhandled or a logged error; who awaits one of its replies gets the `ConnectionFailed`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pika.connection
import pika.exceptions
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from livepush.broker.causes import amqp_cause, network_cause, tls_cause
from livepush.broker.channel import Channel
from livepush.broker.deliveries import FRAME_BYTES, DeliveryReader, FrameError
from livepush.broker.endpoint import endpoint_for
from livepush.broker.errors import BadURL, ConnectionFailed
from livepush.broker.url import BrokerURL

# pika reports each step of each attempt as a warning or an error of its own; `ConnectionFailed` says it once.
logging.getLogger("pika").addHandler(logging.NullHandler())

CLOSED_HERE = "closed by this process"
_TICKS = 3


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Times and bounds of a connection.

    Attributes:
        open_seconds: from TCP to `established()`; over it the attempt is aborted.
        heartbeat: seconds; the broker sends something at least each half of it.
        silence_seconds: after so long without a byte the connection is aborted, a third of it later at the latest.
            Counted in ticks, so a process that was stopped for a while does not blame the broker.
        body_bytes: larger message bodies are cut one byte above it.
        name: shown in RabbitMQ's list of connections.
    """

    open_seconds: float = 10.0
    heartbeat: int = 10
    silence_seconds: float = 15.0
    body_bytes: int = 256 * 1024
    name: str = "livepush"

    def __post_init__(self) -> None:
        for name in ("open_seconds", "heartbeat", "silence_seconds", "body_bytes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"ConnectionSettings.{name} is {getattr(self, name)!r}: it must be above 0")
        if self.silence_seconds < self.heartbeat:
            why = f"it must not be below the heartbeat of {self.heartbeat} s, or quiet connections are taken for dead"
            raise ValueError(f"ConnectionSettings.silence_seconds is {self.silence_seconds!r}: {why}")


class Connection(Protocol):
    """One connection, from the first attempt to its end; never opened twice.

    Its replies (`expect`, `fulfil`, `fail`, `call`) and its `reader` are for its channels.

    Args:
        reactor: timers, and TCP where no endpoint is given.
        url: where and as whom.
        settings: times and bounds.
        on_read: called after each read from the broker, when all that it brought has been handled.
        endpoint: instead of the one that the address says.

    Attributes:
        closed: see the top of the module.
        ended: why it has ended; None: it has not.
        blocked: the broker has said that it takes no messages for now.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        url: BrokerURL,
        settings: ConnectionSettings,
        on_read: Callable[[], None],
        endpoint: IStreamClientEndpoint | None = None,
    ) -> None:
        self.url, self.settings = url, settings
        self.closed: Deferred[ConnectionFailed] = Deferred()
        self.ended: ConnectionFailed | None = None
        self._reactor, self._on_read, self._endpoint = reactor, on_read, endpoint
        self._waiting: set[Deferred[Any]] = set()
        self._connecting: Deferred[Any] | None = None
        self._opened: Deferred[None] = self.expect()
        self._timers: dict[str, IDelayedCall] = {}
        self._reason: ConnectionFailed | None = None
        self._quiet_ticks = 0
        self.blocked = False
        self._parameters = pika.ConnectionParameters()
        self._pika: _Pika | None = None
        self.reader = DeliveryReader(self._give_pika, settings.body_bytes, FRAME_BYTES)

    async def open(self) -> None:
        """TCP, TLS and AMQP.

        Raises:
            ConnectionFailed: with the likely cause. The connection has ended then.
        """
        self._start("open", self.settings.open_seconds, self._expire)
        try:
            self._parameters = self.url.parameters(self.settings.heartbeat, self.settings.name)
            endpoint = self._endpoint or endpoint_for(self._reactor, self.url)
            self._connecting = endpoint.connect(_Single(self))
            await self._connecting
        except ConnectionFailed as problem:
            self._end(problem)
        except BadURL as problem:
            self._end(ConnectionFailed(str(problem)))
        except Exception as problem:  # whatever the network says, the next attempt may do better
            self._end(self._reason or network_cause(self.url, Failure(problem)))
        finally:
            self._connecting = None
        await self._opened

    async def channel(self) -> Channel:
        """A new channel."""
        connection = self._pika
        if connection is None:
            raise self.ended or ConnectionFailed("not connected")
        reply = self.expect()
        self.call(reply, lambda: connection.channel(on_open_callback=lambda raw: self.fulfil(reply, raw)))
        return Channel(self, await reply)

    def established(self) -> None:
        """What is needed has been opened in time."""
        self._stop("open")

    def limit(self) -> None:
        """What is opened from now on has the same deadline again, until `established`."""
        self._stop("open")
        if self.ended is None:
            self._start("open", self.settings.open_seconds, self._expire)

    def close(self, seconds: float = 1.5) -> None:
        """Ends the connection politely, within a bound; `closed` tells when."""
        if self.ended is not None or self._reason is not None:
            return
        if self._pika is None or not self._pika.is_open:
            self.abort(ConnectionFailed(CLOSED_HERE))
            return
        self._reason = ConnectionFailed(CLOSED_HERE)
        self._stop("open")
        self._start("close", seconds, self._abort_transport)
        self._pika.close()

    def abort(self, reason: ConnectionFailed) -> None:
        """Ends the connection at once; what was not sent is lost."""
        if self.ended is not None:
            return
        self._reason = self._reason or reason
        if self._connecting is not None and self._pika is None:
            self._connecting.cancel()
        else:
            self._abort_transport()

    # -- Twisted's side ------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """TCP (with TLS: its handshake goes on behind it) is there: AMQP begins."""
        self._pika = _Pika(self._reactor, self.transport, self._parameters, self)
        self._pika.add_on_connection_blocked_callback(lambda *_: self._block(True))
        self._pika.add_on_connection_unblocked_callback(lambda *_: self._block(False))
        self._start("watch", self.settings.silence_seconds / _TICKS, self._watch)
        self._pika.begin()

    def dataReceived(self, data: bytes) -> None:
        """The hot path: one call a read; see `DeliveryReader` for what a message costs."""
        self._quiet_ticks = 0
        if self._pika is not None and self.ended is None:
            self._pika.bytes_received += len(data)  # pika's own check of heartbeats, which does not see deliveries
            try:
                self.reader.feed(data)
            except FrameError as problem:
                where = f"{self.url.host}:{self.url.port}"
                self.abort(
                    ConnectionFailed(f"{where} does not speak AMQP 0-9-1 ({problem})", "check host, port and TLS")
                )
            except Exception as problem:  # pika checks little of what it decodes; only this connection is lost
                self.abort(ConnectionFailed(f"an AMQP frame that can't be read ({type(problem).__name__})"))
        self._on_read()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end: pika is told, then everybody who waits."""
        found = self._reason or tls_cause(self.url, reason)
        if self._pika is not None:
            told = self._pika.end(reason)
            found = found or amqp_cause(self.url, told)
        self._end(found or network_cause(self.url, reason))

    # -- replies -------------------------------------------------------------------------------------------------------

    def expect(self) -> Deferred[Any]:
        """A Deferred that fires with a reply or, at the end of the connection, with its cause. Never given to pika."""
        reply: Deferred[Any] = Deferred()
        self._waiting.add(reply)
        return reply

    def fulfil(self, reply: Deferred[Any], value: Any) -> None:
        if reply in self._waiting:
            self._waiting.discard(reply)
            reply.callback(value)

    def fail(self, reply: Deferred[Any], problem: ConnectionFailed) -> None:
        if reply in self._waiting:
            self._waiting.discard(reply)
            reply.errback(Failure(problem))

    def call(self, reply: Deferred[Any], request: Callable[[], object]) -> None:
        try:
            request()
        except pika.exceptions.AMQPError as problem:  # closed or closing
            self.fail(reply, self._reason or ConnectionFailed(f"the connection is closing ({type(problem).__name__})"))

    def _end(self, reason: ConnectionFailed) -> None:
        if self.ended is not None:
            return
        self.ended = reason
        for name in list(self._timers):
            self._stop(name)
        for reply in list(self._waiting):
            self.fail(reply, reason)
        self.closed.callback(reason)

    # -- pika's side ---------------------------------------------------------------------------------------------------

    def _give_pika(self, data: bytes) -> None:
        if self._pika is not None:
            self._pika.receive(data)

    def _block(self, blocked: bool) -> None:
        self.blocked = blocked

    def _is_open(self) -> None:
        self.fulfil(self._opened, None)

    # -- timers --------------------------------------------------------------------------------------------------------

    def _start(self, name: str, seconds: float, call: Callable[[], object]) -> None:
        self._timers[name] = self._reactor.callLater(seconds, call)

    def _stop(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _expire(self) -> None:
        stage = "TCP" if self._pika is None else self._pika.stage
        why = f"no usable connection to {self.url.safe} within {self.settings.open_seconds:g} s (waiting for {stage})"
        self.abort(ConnectionFailed(why, "look at the network, and at the broker's load and log"))

    def _watch(self) -> None:
        self._quiet_ticks += 1
        if self._quiet_ticks > _TICKS:
            why = f"no byte from the broker for {self.settings.silence_seconds:g} s"
            self.abort(ConnectionFailed(why, "the network or the broker's machine is down, or the broker hangs"))
        if self.ended is None:
            self._start("watch", self.settings.silence_seconds / _TICKS, self._watch)

    def _abort_transport(self) -> None:
        transport = self.transport
        if transport is not None:
            transport.abortConnection()  # type: ignore[attr-defined]  # ITCPTransport, and TLS over it


class _Pika(pika.connection.Connection):
    """pika's connection over a transport that it is given."""

    bytes_received: int

    def __init__(
        self, reactor: IReactorTime, transport: Any, parameters: pika.ConnectionParameters, owner: Connection
    ) -> None:
        self._reactor, self._transport = reactor, transport
        self._told: BaseException | None = None
        super().__init__(
            parameters,
            on_open_callback=lambda _: owner._is_open(),
            on_open_error_callback=self._note,
            on_close_callback=self._note,
            internal_connection_workflow=False,
        )

    @property
    def stage(self) -> str:
        """What an attempt that got no further was waiting for."""
        stages = {
            self.CONNECTION_PROTOCOL: "the broker's greeting",
            self.CONNECTION_START: "the answer to user and password",
            self.CONNECTION_TUNE: "the virtual host",
        }
        return stages.get(self.connection_state, "exchange and queue")

    def begin(self) -> None:
        self._on_stream_connected()  # type: ignore[attr-defined]

    def receive(self, data: bytes) -> None:
        self._on_data_available(data)  # type: ignore[attr-defined]

    def end(self, reason: Failure) -> BaseException | None:
        """The transport is gone; returns what pika makes of it."""
        known = self._error  # type: ignore[attr-defined]
        lost = None if known is not None else pika.exceptions.StreamLostError(str(reason.value))
        self._on_stream_terminated(lost)  # type: ignore[attr-defined]
        return self._told

    def _note(self, _connection: object, problem: BaseException) -> None:
        self._told = problem

    def _adapter_call_later(self, delay: float, callback: Callable[[], object]) -> IDelayedCall:
        return self._reactor.callLater(delay, callback)

    def _adapter_remove_timeout(self, timeout_id: IDelayedCall) -> None:
        if timeout_id.active():
            timeout_id.cancel()

    def _adapter_add_callback_threadsafe(self, callback: Callable[[], object]) -> None:
        raise NotImplementedError("one thread only")

    def _adapter_connect_stream(self) -> None:
        raise NotImplementedError("its owner connects")

    def _adapter_disconnect_stream(self) -> None:
        self._transport.loseConnection()

    def _adapter_emit_data(self, data: bytes) -> None:
        self._transport.write(data)


class _Single(Factory):
    noisy = False

    def __init__(self, owner: Connection) -> None:
        self._connection = owner

    def buildProtocol(self, _address: IAddress | None) -> Connection:
        return self._connection
