"""Where the log ends: a consumer beside the log reader, at a reconnect, until it meets a marker of this process.

It begins at the last chunk, so it costs what was written last, and what is written until the marker comes. Nothing it
reads is ingested.
"""

from __future__ import annotations

from collections.abc import Callable

from livepush.broker.channel import Channel
from livepush.broker.declaring import read_log
from livepush.broker.deliveries import read_properties
from livepush.broker.envelope import Kind, Marker, decode
from livepush.broker.errors import Malformed
from livepush.broker.intake import OFFSET

PREFETCH = 100


class Probe:
    """Reads the end of the log.

    Args:
        channel: its own.
        process: whose markers are told.
        find: gets a marker's number and offset.
    """

    def __init__(self, channel: Channel, process: str, find: Callable[[int, int], None]) -> None:
        self._channel, self._process = channel, process
        self._find: Callable[[int, int], None] | None = find

    async def start(self) -> None:
        """Consumes from the last chunk on."""
        await read_log(self._channel, PREFETCH, "last", self._deliver)

    def stop(self) -> None:
        """What still comes is not looked at."""
        self._find = None
        self._channel.close()

    def _deliver(self, tag: int, raw: bytes, body: bytes) -> None:
        if self._find is None:
            return
        self._channel.acknowledge(tag)
        try:
            properties = read_properties(raw)
            if properties.type != Kind.MARKER:
                return
            marker = decode(*properties, body).content
        except Malformed:  # the reader meets it too, and tells
            return
        offset = (properties.headers or {}).get(OFFSET)
        if isinstance(marker, Marker) and marker.process == self._process and isinstance(offset, int):
            self._find(marker.number, offset)
