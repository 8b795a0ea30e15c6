"""Server-sent events: the stream of one `EventSource`."""

from __future__ import annotations
