"""What ends a relay's sleep: a bell, which a signal handler may ring, and the broker's message that rows wait.

Whoever commits a durable event publishes `control.outbox`. The relay has an exclusive queue of its own for it, on a
connection of its own, because one that consumes never publishes. A wake-up that is lost costs a second: the relay looks
by itself as often.
"""

from __future__ import annotations

import logging
import secrets
import selectors
import socket
import threading
from contextlib import suppress

from pika import BlockingConnection
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker

from livepush.broker.backoff import Backoff
from livepush.broker.hush import THREAD
from livepush.broker.topology import EXCHANGE, RELAY_BINDING, relay_arguments, relay_queue
from livepush.broker.url import BrokerURL

HEARTBEAT_SECONDS = 10
LOOK_SECONDS = 0.5

_log = logging.getLogger("livepush")


class Bell:
    """Wakes one waiting thread. `ring` takes no lock, so a signal handler may call it, and any thread."""

    def __init__(self) -> None:
        self._heard, self._rope = socket.socketpair()
        self._heard.setblocking(False)
        self._rope.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._heard, selectors.EVENT_READ)

    def ring(self) -> None:
        """Ends the wait of now, or the next one. Ringing often is ringing once."""
        with suppress(OSError):  # full: it will be heard; closed: nobody waits
            self._rope.send(b"!")

    def wait(self, seconds: float) -> bool:
        """Waits for a ring, at most so long; whether there was one."""
        heard = bool(self._selector.select(max(0.0, seconds)))
        with suppress(BlockingIOError):
            while self._heard.recv(4096):
                pass
        return heard

    def close(self) -> None:
        """Lets go of its sockets."""
        self._selector.close()
        self._heard.close()
        self._rope.close()


class Wakeup:
    """Rings the bell for every `control.outbox`, and once after each connect, for what was missed before.

    It never gives up: without a broker it tries again, at most once a second, and says nothing, because the link says
    it. What only it can say, that the broker refuses the queue, it says once.
    """

    def __init__(self, url: BrokerURL, bell: Bell) -> None:
        self._url, self._bell = url, bell
        self._ending = threading.Event()
        self._backoff = Backoff(1.0, 4.0)
        self._told = False
        # pika's own words about connections are hushed by the thread's name
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)

    def start(self) -> None:
        """Begins to listen, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; waits for it a little."""
        self._ending.set()
        self._thread.join(2 * LOOK_SECONDS)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._listen()
            except ChannelClosedByBroker as error:
                self._tell(f"{error.reply_code} {error.reply_text}")
            except (AMQPError, OSError):
                pass
            except Exception:  # pika raises many things from a broken connection; the relay looks by itself
                _log.debug("livepush: the wake-up's connection broke down", exc_info=True)
            self._ending.wait(self._backoff.next())

    def _listen(self) -> None:
        connection = BlockingConnection(self._url.parameters(HEARTBEAT_SECONDS, "livepush relay, wake-up"))
        try:
            self._consume(connection.channel())
            self._backoff.reset()
            self._bell.ring()
            while not self._ending.is_set():
                connection.process_data_events(LOOK_SECONDS)
        finally:
            with suppress(AMQPError, OSError):
                if connection.is_open:
                    connection.close()

    def _consume(self, channel: BlockingChannel) -> None:
        queue = relay_queue(socket.gethostname(), secrets.token_hex(6))
        channel.queue_declare(queue, exclusive=True, auto_delete=True, arguments=relay_arguments())
        channel.queue_bind(queue, EXCHANGE, RELAY_BINDING)
        channel.basic_consume(queue, lambda *_: self._bell.ring(), auto_ack=True)

    def _tell(self, answer: str) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "livepush: %s refuses the relay's wake-up (%s): durable events are found within a second instead; "
                "Django's user needs the rights of broker/rabbitmq/definitions.json",
                self._url.safe,
                answer,
            )
