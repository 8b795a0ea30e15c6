"""A client's connection: handshake, heartbeats, frames in, and writes joined to one for each piece that was read.

    HELLO --header--> START --StartOk--> TUNE --TuneOk--> OPENING --Open--> OPEN --Close--> ENDED
      any of them, when the client breaks a rule: CLOSING (our Close is sent) --CloseOk or time--> ENDED

Output has two bounds. When the transport's buffer is full (64 KiB), consumers get nothing more: their messages stay in
the queues and obey the queues' bounds. What a client asks for besides (answers, `get`, returned messages) may fill
another `Limits.output_bytes`; then nothing more is read from it until it has read.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, cast

from pika import amqp_object, spec
from twisted.internet.interfaces import IDelayedCall, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from livepush.broker.embedded.channel import Channel
from livepush.broker.embedded.codec import PUBLISH, called, decode_method, method_frame
from livepush.broker.embedded.framing import BODY, HEADER, HEARTBEAT, HEARTBEAT_FRAME, METHOD, Frame, FrameReader
from livepush.broker.embedded.limits import FRAME_MIN
from livepush.broker.embedded.output import Output, Wire
from livepush.broker.embedded.refusal import (
    ACCESS_REFUSED,
    CHANNEL_ERROR,
    COMMAND_INVALID,
    CONNECTION_FORCED,
    INTERNAL_ERROR,
    NOT_ALLOWED,
    NOT_IMPLEMENTED,
    UNEXPECTED_FRAME,
    ChannelRefused,
    ConnectionRefused,
    Refusal,
)
from livepush.broker.embedded.vhost import NAME as VHOST

if TYPE_CHECKING:
    from livepush.broker.embedded.broker import EmbeddedBroker

HELLO = b"AMQP\x00\x00\x09\x01"
HANDSHAKE_FRAME = 8192  # nobody has logged in yet
MISSED_BEATS = 2

_CAPABILITIES = ("publisher_confirms", "basic.nack", "consumer_cancel_notify", "authentication_failure_close")


class State(Enum):
    """See the module."""

    HELLO = auto()
    START = auto()
    TUNE = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()
    ENDED = auto()


@implementer(IPushProducer)
class Connection(Protocol):
    """One client.

    Attributes:
        deaf: it does not read what was sent, or its end has begun: consumers get nothing.
        frame_bytes: the largest frame that both sides take.
        hears_cancels: it wants to be told when a consumer's queue goes.
    """

    _log = Logger()

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.broker = broker
        self.deaf = False
        self.frame_bytes = FRAME_MIN
        self.hears_cancels = False
        self._limits = broker.limits
        self._state = State.HELLO
        self._hello = b""
        self._reader = FrameReader(min(HANDSHAKE_FRAME, self._limits.frame_bytes))
        self._channels: dict[int, Channel] = {}
        self._owing: dict[Channel, None] = {}
        self._choked = False  # nothing is read until the client has read
        self._unreadable = False  # its bytes can't be cut into frames any more
        self._heartbeat = 0
        self._heard = 0.0
        self._beat_timer: IDelayedCall | None = None
        self._deadline: IDelayedCall | None = None

    # --- of the transport

    def connectionMade(self) -> None:
        """The client has until the deadline to log in and open."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self._wire = cast(Wire, self.transport)
        self._wire.registerProducer(self, True)
        self._heard = self.broker.clock.seconds()
        self._output = Output(self._wire, self.broker.clock, self._limits.output_bytes)
        self._set_deadline(self._limits.handshake_seconds)

    def dataReceived(self, data: bytes) -> None:
        """Bytes, in whatever pieces."""
        self._heard = self.broker.clock.seconds()
        if self._unreadable or self._state is State.ENDED:
            return
        with self.broker.turn:
            if self._state is State.HELLO:
                data = self._greet(data)
            self._reader.feed(data)
            self._read()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Everything it had goes; what it did not acknowledge goes back."""
        self._state = State.ENDED
        for timer in (self._beat_timer, self._deadline):
            if timer is not None and timer.active():
                timer.cancel()
        self._beat_timer = self._deadline = None
        self._cleanup()
        self.broker.disconnected(self)

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self.deaf = True
        self._output.pause()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self._output.paused = False
        if self._state in (State.CLOSING, State.ENDED):
            return
        self.deaf = False
        with self.broker.turn:
            for channel in list(self._channels.values()):
                channel.pump()
            if self._choked:
                self._choked = False
                self._wire.resumeProducing()
                self._read()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""
        self.deaf = True

    # --- out

    def send(self, frames: bytes) -> None:
        """Whole frames, to be written at the end of the turn at the latest."""
        if self._output.add(frames) or not self.broker.turn.open:
            self.flush()
        else:
            self.broker.turn.later(self)

    def send_method(self, channel: int, method: amqp_object.Method) -> None:
        """One method frame."""
        self.send(method_frame(channel, method))

    def owes_confirm(self, channel: Channel) -> None:
        """The channel has published; its confirm is sent with the next write."""
        self._owing[channel] = None
        self.broker.turn.later(self)

    def flush(self) -> None:
        """Writes what there is."""
        if self._owing:
            owing, self._owing = self._owing, {}
            with self.broker.turn:
                for channel in owing:
                    channel.confirm()
        self._output.write()

    # --- in

    def _greet(self, data: bytes) -> bytes:
        """The protocol header (AMQP 4.2.2); what comes behind it is returned."""
        missing = len(HELLO) - len(self._hello)
        self._hello += data[:missing]
        if not HELLO.startswith(self._hello):
            self.send(HELLO)
            self._end()
        elif len(self._hello) == len(HELLO):
            self._state = State.START
            capabilities = dict.fromkeys(_CAPABILITIES, True)
            start = spec.Connection.Start(0, 9, {"product": "embedded broker", "capabilities": capabilities})
            self.send_method(0, start)
        return data[missing:]

    def _read(self) -> None:
        """Frames, until there is no whole one, or the client has to read first."""
        while self._state not in (State.HELLO, State.ENDED):
            if self._output.choked:
                self._choked = True
                self._wire.pauseProducing()
                return
            number = 0
            try:
                frame = self._reader.next()
            except ConnectionRefused as refusal:
                self._unreadable = True
                self._refuse(refusal)
                return
            if frame is None:
                return
            try:
                kind, number, payload = frame
                self._frame(kind, number, payload)
            except ChannelRefused as refusal:
                self._refuse_channel(number, refusal, frame)
            except ConnectionRefused as refusal:
                self._refuse(refusal, frame)
            except Exception:  # a defect of ours must end this connection only
                self._log.failure("The embedded broker failed at a frame of {peer}", peer=self._peer())
                self._refuse(ConnectionRefused(INTERNAL_ERROR, "see the broker's log"))

    def _frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind == HEARTBEAT or (self._state is State.CLOSING and (number or kind != METHOD)):
            return  # a client goes on until it has read our Close
        if kind not in (METHOD, HEADER, BODY):
            raise ConnectionRefused(UNEXPECTED_FRAME, f"frame of type {kind}")
        if number == 0 or self._state is not State.OPEN:
            if kind != METHOD:
                raise ConnectionRefused(UNEXPECTED_FRAME, "content where none may be")
            if number:
                raise ConnectionRefused(COMMAND_INVALID, "the connection is not open")
            self._connection_method(decode_method(payload))
            return
        channel = self._channels.get(number)
        if channel is None:
            self._open_channel(number, kind, payload)
        elif channel.closing:
            self._closing_channel(number, kind, payload)
        elif kind == METHOD:
            if payload.startswith(PUBLISH):
                channel.publish(payload)
                return
            method = decode_method(payload)
            if isinstance(method, spec.Channel.Close):
                self._drop_channel(number)
                self.send_method(number, spec.Channel.CloseOk())
            elif isinstance(method, spec.Channel.Open):
                raise ConnectionRefused(CHANNEL_ERROR, "second 'channel.open' seen")
            else:
                channel.method(method)
        elif kind == HEADER:
            channel.header(payload)
        else:
            channel.body(payload)

    def _open_channel(self, number: int, kind: int, payload: bytes) -> None:
        if kind != METHOD or not isinstance(decode_method(payload), spec.Channel.Open):
            raise ConnectionRefused(CHANNEL_ERROR, "expected 'channel.open'")
        if number > self._limits.channels:
            why = f"channel {number} is over the negotiated channel_max ({self._limits.channels})"
            raise ConnectionRefused(NOT_ALLOWED, why)
        self._channels[number] = Channel(self, number)
        self.send_method(number, spec.Channel.OpenOk())

    def _closing_channel(self, number: int, kind: int, payload: bytes) -> None:
        if kind == METHOD:
            method = decode_method(payload)
            if isinstance(method, spec.Channel.CloseOk):
                del self._channels[number]
            elif isinstance(method, spec.Channel.Close):  # both closed at once
                self.send_method(number, spec.Channel.CloseOk())

    def _connection_method(self, method: amqp_object.Method) -> None:
        state = self._state
        if isinstance(method, spec.Connection.Close):
            self._cleanup()
            self.send_method(0, spec.Connection.CloseOk())
            self._end()
        elif isinstance(method, spec.Connection.CloseOk):
            self._end()
        elif state is State.CLOSING:
            return
        elif isinstance(method, spec.Connection.StartOk) and state is State.START:
            self._log_in(method)
        elif isinstance(method, spec.Connection.TuneOk) and state is State.TUNE:
            self._tune(method)
        elif isinstance(method, spec.Connection.Open) and state is State.OPENING:
            if method.virtual_host != VHOST:
                raise ConnectionRefused(NOT_ALLOWED, f"vhost {method.virtual_host} not found")
            self._state = State.OPEN
            self._set_deadline(None)
            self.send_method(0, spec.Connection.OpenOk())
        elif isinstance(method, spec.Connection.UpdateSecret):
            raise ConnectionRefused(NOT_IMPLEMENTED, "connection.update-secret in the embedded broker")
        else:
            raise ConnectionRefused(CHANNEL_ERROR, f"unexpected {method.NAME} in connection state {state.name}")

    def _log_in(self, method: spec.Connection.StartOk) -> None:
        properties = method.client_properties
        capabilities = properties.get("capabilities") if isinstance(properties, dict) else None
        self.hears_cancels = isinstance(capabilities, dict) and capabilities.get("consumer_cancel_notify") is True
        response: str | bytes | None = method.response  # SASL PLAIN (RFC 4616): identity NUL user NUL password
        parts = (response.encode() if isinstance(response, str) else response or b"").split(b"\0")
        if method.mechanism != "PLAIN" or len(parts) != 3 or not self.broker.admits(parts[1], parts[2]):
            why = "Login was refused using authentication mechanism PLAIN"
            raise ConnectionRefused(ACCESS_REFUSED, why)
        self._state = State.TUNE
        tune = spec.Connection.Tune(self._limits.channels, self._limits.frame_bytes, self.broker.heartbeat)
        self.send_method(0, tune)

    def _tune(self, method: spec.Connection.TuneOk) -> None:
        wanted = method.frame_max or self._limits.frame_bytes
        if wanted < FRAME_MIN:
            raise ConnectionRefused(NOT_ALLOWED, f"negotiated frame_max = {wanted} is lower than {FRAME_MIN}")
        self.frame_bytes = self._reader.largest = min(wanted, self._limits.frame_bytes)
        self._heartbeat = method.heartbeat
        self._state = State.OPENING
        if self._heartbeat:
            self._beat_timer = self.broker.clock.callLater(self._heartbeat / 2, self._beat)

    def _beat(self) -> None:
        """Twice in a heartbeat: sends one if nothing was written; a client silent for two of them is gone."""
        now = self.broker.clock.seconds()
        if now - self._heard > MISSED_BEATS * self._heartbeat:
            self._log.info("AMQP client {peer} is silent and cut off", peer=self._peer())
            self._wire.abortConnection()
            return
        if now - self._output.wrote >= self._heartbeat / 2 and not self._output.paused:
            self.send(HEARTBEAT_FRAME)
        self._beat_timer = self.broker.clock.callLater(self._heartbeat / 2, self._beat)

    # --- the end

    def force(self) -> None:
        """The broker ends: the client is told, if it is one already."""
        if self._state is State.OPEN:
            why = "broker forced connection closure with reason 'shutdown'"
            self._refuse(ConnectionRefused(CONNECTION_FORCED, why))
        elif self._state is not State.CLOSING:
            self._wire.abortConnection()

    def _refuse(self, refusal: Refusal, frame: Frame | None = None) -> None:
        if self._state in (State.CLOSING, State.ENDED):
            return  # it was told already, and has until the deadline
        self._log.info("AMQP client {peer} is refused: {why!r}", peer=self._peer(), why=refusal.text)
        self._cleanup()
        self.send_method(0, spec.Connection.Close(refusal.code, refusal.text, *called(frame)))
        self._state = State.CLOSING
        self._set_deadline(self._limits.closing_seconds)

    def _refuse_channel(self, number: int, refusal: Refusal, frame: Frame) -> None:
        self._log.debug("AMQP client {peer} is refused: {why!r}", peer=self._peer(), why=refusal.text)
        channel = self._channels[number]
        channel.close()
        channel.closing = True
        self.send_method(number, spec.Channel.Close(refusal.code, refusal.text, *called(frame)))

    def _drop_channel(self, number: int) -> None:
        channel = self._channels.pop(number)
        self._owing.pop(channel, None)
        if not channel.closing:
            channel.close()

    def _cleanup(self) -> None:
        self.deaf = True  # what goes back must not come here again
        with self.broker.turn:
            for channel in self._owing:
                channel.confirm()  # what was kept, before the end
            self._owing.clear()
            for number in list(self._channels):
                self._drop_channel(number)
            self.broker.vhost.disown(self)

    def _end(self) -> None:
        """Writes what there is and closes; cut off if the client does not take it in time."""
        self.flush()
        self._state = State.ENDED
        self._wire.unregisterProducer()
        self._wire.loseConnection()
        self._set_deadline(self._limits.closing_seconds)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None
        if seconds is not None:
            self._deadline = self.broker.clock.callLater(seconds, self._wire.abortConnection)

    def _peer(self) -> str:
        peer = self.transport.getPeer() if self.transport is not None else None
        return f"{getattr(peer, 'host', '?')}:{getattr(peer, 'port', '?')}"
