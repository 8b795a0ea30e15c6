"""pika's own words, left out where livepush says the same in one line.

What pika logs about a connection is a dozen lines with tracebacks for each attempt that fails, and a warning for each
refusal that was reckoned with. Left out is what comes from a publisher's thread, known by its name, or from within
`hushed`; with the logger `livepush` at DEBUG everything is shown. A site's own use of pika is not touched.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

THREAD = "livepush-publisher"

_hushed = ContextVar("_hushed", default=False)


class _Hush(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        ours = _hushed.get() or record.threadName == THREAD
        return not ours or logging.getLogger("livepush").isEnabledFor(logging.DEBUG)


_hush = _Hush()
for _name in (
    "adapters.base_connection",
    "adapters.blocking_connection",
    "adapters.select_connection",
    "adapters.utils.connection_workflow",
    "adapters.utils.io_services_utils",
    "callback",
    "channel",
    "connection",
    "heartbeat",
):
    logging.getLogger(f"pika.{_name}").addFilter(_hush)


@contextmanager
def hushed() -> Iterator[None]:
    """For a while, in this thread: the caller says what becomes of its connection."""
    token = _hushed.set(True)
    try:
        yield
    finally:
        _hushed.reset(token)
