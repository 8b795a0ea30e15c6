"""A TCP proxy on loopback that can do to a connection what networks do.

mode        what happens, to connections that are there and to new ones
---------   -----------------------------------------------------------------------------------------------
pass        bytes are passed on
delay       every byte is passed on `delay` seconds after it came
slow        at most `rate` bytes a second pass, in each direction of each connection
blackhole   nothing is read or passed on, nothing is closed; what was sent meanwhile passes when the mode ends
cut         connections are reset, new ones too
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

HELD_BYTES = 1024 * 1024
CHUNK = 64 * 1024

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close() sends RST


class Mode(StrEnum):
    """See the module's table."""

    PASS = "pass"
    DELAY = "delay"
    SLOW = "slow"
    BLACKHOLE = "blackhole"
    CUT = "cut"


@dataclass(slots=True, eq=False)
class _Pipe:
    """One direction of one connection. Holds at most `HELD_BYTES`, then it stops reading."""

    source: socket.socket
    target: socket.socket
    held: deque[tuple[float, bytes]] = field(default_factory=deque)
    size: int = 0
    ended: bool = False  # the source sent its FIN
    credit: float = 0.0
    counted: float = 0.0


class Proxy:
    """Listens on a free port of 127.0.0.1 and leads to `target` there. One thread, ended by `close`.

    Attributes:
        port: where it listens.
        accepted: connections so far.
    """

    def __init__(self, target: int, *, delay: float = 0.1, rate: int = 10_000) -> None:
        self.target, self.delay, self.rate = target, delay, rate
        self.accepted = 0
        self._mode = Mode.PASS
        self._wanted = Mode.PASS
        self._pipes: list[_Pipe] = []
        self._applied = threading.Condition()
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._waker, self._wakened = socket.socketpair()
        self._wakened.setblocking(False)
        self._thread = threading.Thread(target=self._run, name=f"proxy to {target}", daemon=True)
        self._thread.start()

    @property
    def mode(self) -> Mode:
        """The one in force."""
        return self._mode

    def set(self, mode: Mode | str) -> None:
        """Changes the mode; it is in force when this returns."""
        with self._applied:
            self._wanted = Mode(mode)
            self._waker.send(b"!")
            if not self._applied.wait_for(lambda: self._mode is self._wanted, 10):
                raise TimeoutError("the proxy's thread does not answer")

    def close(self) -> None:
        """Resets all connections and ends the thread. May be called twice."""
        if not self._closing:
            self._closing = True
            self._waker.send(b"!")
            self._thread.join(10)
            self._waker.close()

    # --- in the thread

    def _run(self) -> None:
        try:
            while not self._closing:
                self._turn()
        finally:
            self._reset()
            self._listener.close()
            self._wakened.close()

    def _turn(self) -> None:
        now = time.monotonic()
        wait: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakened, selectors.EVENT_READ)
            selector.register(self._listener, selectors.EVENT_READ)
            wanted: dict[socket.socket, int] = {}
            if self._mode is not Mode.BLACKHOLE:
                for pipe in self._pipes:
                    if not pipe.ended and pipe.size < HELD_BYTES:
                        wanted[pipe.source] = wanted.get(pipe.source, 0) | selectors.EVENT_READ
                    if pipe.held:
                        due = max(pipe.held[0][0], self._when(pipe, now))
                        if due <= now:
                            wanted[pipe.target] = wanted.get(pipe.target, 0) | selectors.EVENT_WRITE
                        else:
                            wait = min(due - now, wait if wait is not None else due - now)
            for one, events in wanted.items():
                selector.register(one, events)
            ready: dict[object, int] = {key.fileobj: events for key, events in selector.select(wait)}
        if self._wakened in ready:
            self._wakened.recv(CHUNK)
        with self._applied:
            if self._wanted is not self._mode:
                self._mode = self._wanted
                if self._mode is Mode.CUT:
                    self._reset()
                self._applied.notify_all()
        if self._listener in ready:
            self._accept()
        if self._mode is not Mode.BLACKHOLE:
            for pipe in list(self._pipes):
                self._move(pipe, ready)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        self.accepted += 1
        if self._mode is Mode.CUT:
            _close_hard(client)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            _close_hard(client)
            return
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.setblocking(False)
        self._pipes += [_Pipe(client, server), _Pipe(server, client)]

    def _move(self, pipe: _Pipe, ready: Mapping[object, int]) -> None:
        if pipe not in self._pipes:
            return  # its other direction was reset in this turn
        try:
            if ready.get(pipe.source, 0) & selectors.EVENT_READ and not pipe.ended and pipe.size < HELD_BYTES:
                data = pipe.source.recv(CHUNK)
                if data:
                    pipe.held.append((time.monotonic() + (self.delay if self._mode is Mode.DELAY else 0.0), data))
                    pipe.size += len(data)
                else:
                    pipe.ended = True
            if ready.get(pipe.target, 0) & selectors.EVENT_WRITE and pipe.held:
                due, data = pipe.held.popleft()
                allowed = int(pipe.credit) if self._mode is Mode.SLOW else len(data)
                sent = pipe.target.send(data[:allowed])
                pipe.size -= sent
                pipe.credit -= sent
                if sent < len(data):
                    pipe.held.appendleft((due, data[sent:]))
            if pipe.ended and not pipe.held:
                self._end(pipe)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(pipe)

    def _when(self, pipe: _Pipe, now: float) -> float:
        """When the next bytes may go, by the rate."""
        if self._mode is not Mode.SLOW:
            return now
        pipe.credit = max(0.0, min(pipe.credit + (now - pipe.counted) * self.rate, self.rate / 10))
        pipe.counted = now
        least = min(float(CHUNK), max(1.0, self.rate / 50))
        return now if pipe.credit >= least else now + (least - pipe.credit) / self.rate

    def _end(self, pipe: _Pipe) -> None:
        """Passes a FIN on; when both directions have had theirs the connection is gone."""
        self._pipes.remove(pipe)
        pipe.target.shutdown(socket.SHUT_WR)
        if not any(other.source is pipe.target for other in self._pipes):
            pipe.source.close()
            pipe.target.close()

    def _drop(self, pipe: _Pipe) -> None:
        self._pipes = [other for other in self._pipes if other.source not in (pipe.source, pipe.target)]
        _close_hard(pipe.source)
        _close_hard(pipe.target)

    def _reset(self) -> None:
        for pipe in self._pipes:
            _close_hard(pipe.source)
            _close_hard(pipe.target)
        self._pipes = []


def _close_hard(one: socket.socket) -> None:
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    one.close()
