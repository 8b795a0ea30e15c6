"""pika's `SelectConnection` with the few things that it keeps to itself. pika 1.4, `pika<2`; only this touches them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pika
from pika.adapters.utils.io_services_utils import _AsyncPlaintextTransport
from pika.channel import Channel

from livepush.broker.backlog import Copy
from livepush.broker.framing import frames


class Connection(pika.SelectConnection):
    """One connection of a publisher.

    Two of pika's turns of the loop are saved for each event that comes alone: it would wait for the socket to become
    writable, and its caller for the next turn to handle what a read has brought.
    """

    after_read: Callable[[], None] | None = None
    """Called when all that one read brought has been handled."""

    def _on_data_available(self, data_in: bytes) -> None:
        super()._on_data_available(data_in)  # type: ignore[misc]
        if self.after_read is not None:
            self.after_read()

    def _adapter_emit_data(self, data: bytes) -> None:
        """Hands to the kernel at once what it takes; the rest, and all errors, go pika's way."""
        transport: Any = getattr(self, "_transport", None)
        plain = type(transport) is _AsyncPlaintextTransport
        if plain and transport._state == transport._STATE_ACTIVE:
            with suppress(OSError):  # not writable now, or broken: the loop will see
                if not transport.get_write_buffer_size():
                    data = data[transport._sock.send(data) :]
            if not data:
                return
        super()._adapter_emit_data(data)  # type: ignore[misc]

    def publish(self, channel: Channel, exchange: str, copies: list[Copy]) -> None:
        """Writes all the copies in one piece; the channel is open."""
        number, frame_max = channel.channel_number, int(self.params.frame_max)
        sent = time.time_ns() // 1_000_000
        data = [frames(copy, exchange, number, frame_max, sent) for copy in copies]
        self._output_marshaled_frames([b"".join(data)])  # type: ignore[attr-defined]

    @property
    def received(self) -> int:
        """Bytes that came."""
        return int(self.bytes_received)  # type: ignore[attr-defined]

    def drop(self, why: Exception) -> None:
        """Ends the connection without asking the broker; the callback for that follows."""
        self._terminate_stream(why)  # type: ignore[attr-defined]

    def disown(self) -> None:
        """Closes this process's copy of the socket and writes nothing: the connection is another process's."""
        sock = getattr(getattr(self, "_transport", None), "_sock", None)
        if isinstance(sock, socket.socket):
            sock.close()
