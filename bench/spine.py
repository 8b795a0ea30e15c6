"""The baseline: RabbitMQ to browser with nothing in between. No identity, no audiences, no numbers, no bounds.

    python -m bench.spine --broker amqp://guest:guest@127.0.0.1:5672/%2F --port 8989

Whatever is published to `event.#` goes to every connection, joined into one write per connection and read from the
broker. It is how fast this stack can be, so that the price of what livepush adds can be told.
"""

from __future__ import annotations

import argparse
import gc
import struct
from typing import Any

import pika
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import tcp
from twisted.web.resource import Resource
from twisted.web.server import Site

QUEUE = "livepush.p.spine"
PREFIX = b'{"op":"event","channel":"bench","type":"lock","id":"m3t5k2j9-a1b2c3d4-17","data":'

connections: dict[Connection, None] = {}
dirty: list[Connection] = []


class Transport(tcp.Server):
    """Tries the kernel before Twisted's buffer."""

    def write(self, data: bytes) -> None:
        if not self.dataBuffer and not self._tempDataBuffer and not self.disconnecting and self.connected:
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                tcp.Server.write(self, data)
                return
            if sent == len(data):
                return
            data = data[sent:]
        tcp.Server.write(self, data)


class Connection(WebSocketServerProtocol):
    """One subscriber."""

    tcpNoDelay = True

    def onOpen(self) -> None:
        self.pending: list[bytes] = []
        # Below twisted.web the transport is the HTTP channel's, which has the TCP one inside.
        transport: Any = self.transport
        self.wire = transport if hasattr(transport, "socket") else transport.transport
        self.wire.setTcpNoDelay(True)
        connections[self] = None
        self.sendMessage(b"subscribed")

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        connections.pop(self, None)


def deliver(body: bytes) -> None:
    """Puts a message's one frame on every connection's list."""
    payload = PREFIX + body + b"}"
    size = len(payload)
    frame = (bytes((0x81, size)) if size < 126 else b"\x81\x7e" + struct.pack(">H", size)) + payload
    for connection in connections:
        if not connection.pending:
            dirty.append(connection)
        connection.pending.append(frame)


def flush() -> None:
    """One write for each connection that has something."""
    for connection in dirty:
        pending = connection.pending
        connection.wire.write(pending[0] if len(pending) == 1 else b"".join(pending))
        pending.clear()
    dirty.clear()


async def serve(reactor: Any, broker: str, port: int) -> None:
    """Consumes, and then listens."""
    from pika.adapters.twisted_connection import TwistedProtocolConnection
    from twisted.internet.endpoints import TCP4ClientEndpoint
    from twisted.internet.protocol import Factory

    parameters: Any = pika.URLParameters(broker)

    class Feed(TwistedProtocolConnection):
        def dataReceived(self, data: bytes) -> None:
            TwistedProtocolConnection.dataReceived(self, data)
            flush()

    class Feeds(Factory):
        def buildProtocol(self, addr: Any) -> Any:
            return Feed(parameters)

    feed: Any = await TCP4ClientEndpoint(reactor, parameters.host, parameters.port).connect(Feeds())
    await feed.ready
    channel = await feed.channel()
    await channel.exchange_declare("livepush", "topic", durable=True)
    await channel.queue_declare(QUEUE, exclusive=True, auto_delete=True)
    await channel.queue_bind(QUEUE, "livepush", "event.#")
    await channel.basic_qos(prefetch_count=1000)
    raw = channel._channel

    def got(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        deliver(body)
        if method.delivery_tag % 100 == 0:
            raw.basic_ack(method.delivery_tag, multiple=True)

    raw.basic_consume(QUEUE, got)
    factory = WebSocketServerFactory()
    factory.protocol = Connection
    factory.setProtocolOptions(autoPingInterval=0)
    root, folder = Resource(), Resource()
    root.putChild(b"livepush", folder)
    folder.putChild(b"ws", WebSocketResource(factory))
    listening = reactor.listenTCP(port, Site(root), interface="127.0.0.1", backlog=4096)
    listening.transport = Transport
    gc.collect()
    gc.freeze()


def main() -> None:
    """Runs until SIGTERM."""
    arguments = argparse.ArgumentParser(prog="python -m bench.spine")
    arguments.add_argument("--broker", required=True)
    arguments.add_argument("--port", type=int, required=True)
    given = arguments.parse_args()

    from twisted.internet import epollreactor

    epollreactor.install()
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    def failed(failure: Failure) -> None:
        failure.printTraceback()
        reactor.stop()

    def start() -> None:
        Deferred.fromCoroutine(serve(reactor, given.broker, given.port)).addErrback(failed)

    reactor.callWhenRunning(start)
    reactor.run()


if __name__ == "__main__":
    main()
