"""A client in memory: frames by pika's codec to an `EmbeddedBroker`, and its answers back. No sockets, no time."""

from __future__ import annotations

from typing import Any

from pika import spec
from pika.frame import Body, Frame, Header, Method, decode_frame
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from livepush.broker.embedded import EmbeddedBroker, Limits

HELLO = b"AMQP\x00\x00\x09\x01"
USER, PASSWORD = "me", "secret"


def make_broker(clock: Clock | None = None, heartbeat: int = 60, **limits: Any) -> EmbeddedBroker:
    """A broker with these limits."""
    return EmbeddedBroker(USER, PASSWORD, clock=clock or Clock(), heartbeat=heartbeat, limits=Limits(**limits))


class Client:
    """One connection.

    Attributes:
        gone: the broker closed it.
        cut: it did so without a goodbye.
    """

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.transport = StringTransport()
        self.transport.loseConnection = self._lose  # type: ignore[method-assign]
        self.transport.abortConnection = self._abort  # type: ignore[method-assign]
        self.gone = self.cut = False
        protocol = broker.buildProtocol(None)
        assert protocol is not None
        self.protocol: Protocol = protocol
        self.protocol.makeConnection(self.transport)

    def _lose(self) -> None:
        self.gone = True

    def _abort(self) -> None:
        self.gone = self.cut = True

    def lose(self) -> None:
        """The connection is lost."""
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def send(self, *frames: Any) -> None:
        """Frames, methods (on channel 1) or bytes, in one piece."""
        self.protocol.dataReceived(b"".join(map(marshalled, frames)))

    def received(self) -> list[Any]:
        """The frames that came since the last call."""
        data = self.transport.value()
        self.transport.clear()
        frames: list[Frame] = []
        while data:
            size, frame = decode_frame(data)
            assert isinstance(frame, Frame)
            data = data[size:]
            frames.append(frame)
        return frames

    def methods(self) -> list[Any]:
        """The methods among them."""
        return [frame.method for frame in self.received() if isinstance(frame, Method)]

    def bodies(self) -> list[bytes]:
        """The bodies among them."""
        return [frame.fragment for frame in self.received() if isinstance(frame, Body)]

    def log_in(self, heartbeat: int = 0, frame_max: int = 0) -> Client:
        """Everything up to an open channel 1."""
        self.send(HELLO, login(), tune(heartbeat, frame_max), Method(0, spec.Connection.Open("/")))
        self.send(spec.Channel.Open())
        names = [method.NAME for method in self.methods()]
        assert names == ["Connection.Start", "Connection.Tune", "Connection.OpenOk", "Channel.OpenOk"], names
        return self

    def ask(self, method: Any) -> Any:
        """The one method that answers."""
        self.send(method)
        (answer,) = self.methods()
        return answer


def login(user: str = USER, password: str = PASSWORD) -> Method[Any]:
    """StartOk."""
    capabilities = {"capabilities": {"consumer_cancel_notify": True}}
    return Method(0, spec.Connection.StartOk(capabilities, "PLAIN", f"\0{user}\0{password}", "en_US"))


def tune(heartbeat: int = 0, frame_max: int = 0) -> Method[Any]:
    """TuneOk."""
    return Method(0, spec.Connection.TuneOk(0, frame_max, heartbeat))


def publish(
    body: bytes, key: str = "q", exchange: str = "", properties: Any = None, mandatory: bool = False, channel: int = 1
) -> bytes:
    """A whole publication in one body frame."""
    method = spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory)
    frames = [Method(channel, method), Header(channel, len(body), properties or spec.BasicProperties())]
    return b"".join(frame.marshal() for frame in frames) + (Body(channel, body).marshal() if body else b"")


def marshalled(thing: Any) -> bytes:
    """Bytes of whatever `Client.send` takes."""
    if isinstance(thing, bytes):
        return thing
    frame = thing if isinstance(thing, Frame) else Method(1, thing)
    return bytes(frame.marshal())
