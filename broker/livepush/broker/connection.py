"""pika's `SelectConnection` with the few things that it keeps to itself. pika 1.4, `pika<2`; nobody else touches them.

What pika logs about a connection of the publisher is a dozen lines with tracebacks for each attempt that fails; the
link says it in one, once a minute. So pika's records from the publisher's thread are shown only when the logger
`livepush` is at DEBUG.
"""

from __future__ import annotations

import logging
import socket

import pika
from pika.channel import Channel

from livepush.broker.backlog import Copy
from livepush.broker.framing import frames

THREAD = "livepush-publisher"


class _Hush(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.threadName != THREAD or logging.getLogger("livepush").isEnabledFor(logging.DEBUG)


_hush = _Hush()
for _name in (
    "adapters.base_connection",
    "adapters.select_connection",
    "adapters.utils.connection_workflow",
    "adapters.utils.io_services_utils",
    "callback",
    "channel",
    "connection",
    "heartbeat",
):
    logging.getLogger(f"pika.{_name}").addFilter(_hush)


class Connection(pika.SelectConnection):
    """One connection of a publisher."""

    def publish(self, channel: Channel, exchange: str, copies: list[Copy]) -> None:
        """Writes all the copies in one piece; the channel is open."""
        number, frame_max = channel.channel_number, int(self.params.frame_max)
        data = [frames(copy, exchange, number, frame_max) for copy in copies]
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
