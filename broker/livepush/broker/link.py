"""The AMQP connection of one publisher: a daemon thread that owns a pika `SelectConnection` and empties a backlog.

    what happens                                        what the link does
    --------------------------------------------------  --------------------------------------------------------------
    no broker, connection lost                          tries again: at once, then by backoff, at most once a second
    connection.blocked (memory or disk alarm)           writes nothing until connection.unblocked
    basic.nack                                          opens a new channel, after a backoff of up to a second
    channel closed, 404 or no right on the exchange     keeps everything, opens a new channel each second
    channel closed, 311 403 406: the message's fault    opens a new channel at once; the backlog finds the culprit
    channel closed, anything else                       opens a new channel, after a backoff of up to a second
    nothing received for 15 s                           drops the connection: the broker's heartbeat comes every 5 s
    no log, or none that answers                        keeps everything, asks again each second
    no file descriptor for a new loop                   tries again each second

The first thing on each channel is to ask for the log, by a passive declaration, which needs no right. Without one
a confirm proves nothing: a daemon's queue is enough for it, and after RabbitMQ's restart the log comes a second late.

Everything but `start`, `alive`, `needs_waking`, `wake`, `end` and `disown` runs in the thread. What pika logs of it is
hushed (`livepush.broker.connection`).
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - getaddrinfo's: a child forked amid its import could never look a name up
import logging
import os
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pika
import pika.exceptions
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from pika.exceptions import AMQPHeartbeatTimeout, ChannelClosedByBroker

from livepush.broker.backoff import Backoff
from livepush.broker.cargo import Cargo
from livepush.broker.complaint import Complaints, leaf
from livepush.broker.connection import Connection
from livepush.broker.hush import THREAD
from livepush.broker.topology import LOG
from livepush.broker.url import BrokerURL

HEARTBEAT_SECONDS = 10
SILENT_SECONDS = 15
TOPOLOGY_SECONDS = 1.0
LOOP_SECONDS = 1.0
GOODBYE_SECONDS = 1.0

_MESSAGE_AT_FAULT = (311, 403, 406)
_log = logging.getLogger("livepush")


class State(StrEnum):
    """Where the link stands."""

    WAITING = "waiting"  # for the time of the next attempt
    CONNECTING = "connecting"
    ASKING = "asking"  # connected; whether the log is there
    OPENING = "opening"  # a channel is to be in confirm mode, now or after a pause
    READY = "ready"
    BLOCKED = "blocked"  # ready, but the broker asked to send nothing
    ENDING = "ending"


class Link:
    """Carries what a publisher or a relay has to send to the broker.

    Args:
        url: where the broker is.
        exchange: where everything is published.
        cargo: touched only with `lock` held.
        conclude: called without the lock when publications may have ended.
        log: the queue that must be there before anything is sent.
    """

    def __init__(
        self,
        url: BrokerURL,
        exchange: str,
        cargo: Cargo,
        lock: threading.Lock,
        conclude: Callable[[], None],
        log: str = LOG,
    ) -> None:
        self.state = State.WAITING
        self.connections = 0
        self._url, self._exchange, self._log_queue = url, exchange, log
        self._cargo, self._lock, self._conclude = cargo, lock, conclude
        self._loop: Any = None  # an IOLoop while there is one, which only `_empty` runs
        self._ending = threading.Event()
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._woken = False
        self._pump_due = False
        self._expiry: object | None = None
        self._attempted = 0.0
        self._attempts = Backoff(1.0, 4.0)
        self._openings = Backoff(0.05, 1.0)
        self.complaints = Complaints(_log)
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)

    # -- any thread ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to connect. RuntimeError when there can be no new thread: too many, or the interpreter is ending."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs. It ends only by `end`, or by what Python itself can't survive."""
        return self._thread.is_alive()

    @property
    def current(self) -> bool:
        """Whether the caller runs in this link's thread."""
        return threading.current_thread() is self._thread

    def needs_waking(self) -> bool:
        """Whether `wake` must be called for what was just added; the lock is held."""
        if not self._woken:
            untimed = self._expiry is None and self._cargo.expires is not None
            self._woken = untimed or (self.state is State.READY and self._cargo.sendable)
            return self._woken
        return False

    def wake(self) -> None:
        """Has the thread look at the backlog."""
        if (loop := self._loop) is not None:  # else it will look by itself
            loop.add_callback_threadsafe(self._pump)

    def end(self, timeout: float) -> None:
        """Closes the connection and ends the thread; not longer than `timeout` for the caller."""
        with self._lock:
            self._ending.set()
            loop = self._loop
        if loop is not None:
            loop.add_callback_threadsafe(self._end)
        if not self.current and self.alive:
            self._thread.join(timeout)

    def disown(self) -> None:
        """For a forked child, where the thread does not exist: lets go of the parent's socket."""
        if self._connection is not None:
            self._connection.disown()

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                loop = IOLoop()
            except OSError as error:
                self.complaints.say("loop", "livepush: can't reach %s: %s; trying again", self._url.safe, leaf(error))
                self._ending.wait(LOOP_SECONDS)
                continue
            with self._lock:
                self._loop, self._woken, self._expiry, self._pump_due = loop, False, None, False
            if not self._ending.is_set():
                self._empty(loop)
            with self._lock:
                self._loop = None
            loop.close()

    def _empty(self, loop: IOLoop) -> None:
        """Carries the backlog until the end, or until the loop breaks down: all that belonged to it is gone then."""
        loop.call_later(0, self._connect)
        loop.call_later(0, self._pump)  # whoever had something to expire found no loop to wake
        try:
            loop.start()
        except Exception:
            # pika raises from here what it can't decode, and an assertion when it is closed before it was open.
            if self.state is not State.ENDING:
                self.complaints.say("broke", "livepush: the connection to %s broke down", self._url.safe, exc_info=True)
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.disown()
            self._stop_sending()
            self.state = State.WAITING
            self._ending.wait(self._attempts.next())

    def _connect(self) -> None:
        if self.state is State.ENDING:
            return
        self.state = State.CONNECTING
        self._attempted = time.monotonic()
        try:
            self._connection = Connection(
                self._url.parameters(HEARTBEAT_SECONDS, f"livepush publisher {os.getpid()}"),
                on_open_callback=self._on_connected,
                on_open_error_callback=self._on_disconnected,
                on_close_callback=self._on_disconnected,
                custom_ioloop=self._loop,
            )
        except Exception as error:
            self._lost(leaf(error))

    def _on_connected(self, connection: Connection) -> None:
        self.connections += 1
        connection.after_read = self._after_read
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._watch(connection, -1, SILENT_SECONDS // 5)
        self._open()

    def _on_disconnected(self, connection: Connection, error: BaseException) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        if self.state is State.ENDING:
            self._loop.stop()
        else:
            self._lost(leaf(error))

    def _lost(self, why: str) -> None:
        """Whatever the connection's end was: try again."""
        self._stop_sending()
        was_connected = self.state not in (State.WAITING, State.CONNECTING)
        self.state = State.WAITING
        age = time.monotonic() - self._attempted
        delay = 0.0 if was_connected and age >= self._attempts.least else self._attempts.next()
        self.complaints.say(
            "broker", "livepush: no broker at %s: %s; %d messages wait", self._url.safe, why, len(self._cargo)
        )
        self._loop.call_later(delay, self._connect)

    def _watch(self, connection: Connection, received: int, patience: int) -> None:
        """Every 5 s: has anything come?"""
        if connection is not self._connection:
            return
        now = connection.received
        patience = SILENT_SECONDS // 5 if now != received else patience - 1
        if patience <= 0:
            connection.drop(AMQPHeartbeatTimeout(f"nothing received for {SILENT_SECONDS} s"))
        else:
            self._loop.call_later(5.0, lambda: self._watch(connection, now, patience))

    # -- the channel ---------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        connection = self._connection
        if connection is None or not connection.is_open or self.state is State.ENDING:
            return
        self.state = State.ASKING
        self._channel = connection.channel(on_open_callback=self._on_channel)

    def _open_after(self, delay: float) -> None:
        """The channel of now is done with."""
        connection, channel, self._channel = self._connection, self._channel, None
        if channel is not None and channel.is_open:
            channel.close()
        self.state = State.OPENING
        if delay <= 0:
            self._open()
        else:
            self._loop.call_later(delay, lambda: self._open() if connection is self._connection else None)

    def _on_channel(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_returned)
        channel.queue_declare(self._log_queue, passive=True, callback=lambda _: self._on_log(channel))

    def _on_log(self, channel: Channel) -> None:
        if channel is not self._channel or self.state is not State.ASKING:
            return
        if self.complaints.settled("log"):
            _log.info("livepush: the log %r at %s is there", self._log_queue, self._url.safe)
        self.state = State.OPENING
        channel.confirm_delivery(lambda frame: self._on_answer(channel, frame), lambda _: self._on_confirming(channel))

    def _on_confirming(self, channel: Channel) -> None:
        if channel is not self._channel or self.state is not State.OPENING:
            return
        self._attempts.reset()
        if self.complaints.settled("broker"):
            _log.info("livepush: connected to %s", self._url.safe)
        with self._lock:
            self._cargo.opened()
            self.state = State.READY
        self._pump()

    def _on_blocked(self, *_: object) -> None:
        self.complaints.say("blocked", "livepush: %s takes no messages (memory or disk alarm)", self._url.safe)
        if self.state is State.READY:
            self.state = State.BLOCKED

    def _on_unblocked(self, *_: object) -> None:
        if self.state is State.BLOCKED:
            self.state = State.READY
            self._pump()

    def _on_answer(self, channel: Channel, frame: Any) -> None:
        if channel is not self._channel:
            return
        answer = frame.method
        if isinstance(answer, pika.spec.Basic.Ack):
            with self._lock:
                progress = self._cargo.confirmed(answer.delivery_tag, answer.multiple)
            if progress:
                self._openings.reset()
            self._pump_due = True  # once for all answers that came together
            return
        with self._lock:
            again = self._cargo.nacked(answer.delivery_tag, answer.multiple)
        if again:
            self.complaints.say("nack", "livepush: %s could not keep a message; it is sent again", self._url.safe)
            self._open_after(self._openings.next())
        self._conclude()

    def _on_returned(self, channel: Channel, _: Any, properties: pika.BasicProperties, __: bytes) -> None:
        if channel is self._channel and properties.message_id is not None:
            with self._lock:
                self._cargo.returned(int(properties.message_id))

    def _on_channel_closed(self, channel: Channel, why: Exception) -> None:
        if channel is not self._channel:
            return
        if not isinstance(why, ChannelClosedByBroker):
            self._stop_sending()  # with the connection, whose own callback follows
            return
        code, text = why.reply_code, f"{why.reply_code} {why.reply_text}"
        asked = self.state is State.ASKING
        if asked or code == 404 or (code == 403 and "access to exchange" in why.reply_text):
            self._stop_sending()
            self._complain_of("log" if asked else "exchange", text)
            self._open_after(TOPOLOGY_SECONDS)
            return
        if code not in _MESSAGE_AT_FAULT:
            self._stop_sending()
            self.complaints.say("channel", "livepush: %s closed the channel: %s", self._url.safe, text)
            self._open_after(self._openings.next())
            return
        with self._lock:
            progress = self._cargo.refused(text)
        if progress:
            self.complaints.say("refused", "livepush: %s refuses a message for good: %s", self._url.safe, text)
        else:
            self._complain_of("exchange", text)
        self._open_after(0 if progress else TOPOLOGY_SECONDS)
        self._conclude()

    def _after_read(self) -> None:
        if self._pump_due:
            self._pump()

    # -- writing -------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Writes what may be written; ends when the flight is full or nothing waits."""
        self._pump_due = False
        self._conclude()
        while True:
            now = time.monotonic()
            with self._lock:
                self._woken = False
                self._cargo.expire(now)
                copies = self._cargo.copies(time.time_ns() // 1_000_000) if self.state is State.READY else []
                expires = self._cargo.expires
            if not copies or self._connection is None or self._channel is None or not self._channel.is_open:
                break  # if the channel is gone, the callback that says so is under way
            self._connection.publish(self._channel, self._exchange, copies)
        if expires is not None and self._expiry is None:
            self._expiry = self._loop.call_later(max(0.0, expires - now), self._on_expiry)
        self._conclude()

    def _on_expiry(self) -> None:
        self._expiry = None
        self._pump()

    # -- the end, and words --------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self.state = State.ENDING
        self._stop_sending()
        connection = self._connection
        if connection is not None and not connection.is_closing and not connection.is_closed:
            self._loop.call_later(GOODBYE_SECONDS, self._loop.stop)
            connection.close()
        else:
            self._loop.stop()

    def _stop_sending(self) -> None:
        with self._lock:
            self._cargo.lost()
        self._conclude()

    def _complain_of(self, what: str, text: str) -> None:
        self.complaints.say(
            what,
            "livepush: can't publish to %s %r at %s: %s; %d messages wait. `manage.py livepush topology` makes it; "
            "Django's user needs the rights of broker/rabbitmq/definitions.json",
            what,
            self._log_queue if what == "log" else self._exchange,
            self._url.safe,
            text,
            len(self._cargo),
        )
