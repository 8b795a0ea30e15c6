"""The process's one way to the broker, made when the first publication needs it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

from livepush.django.conf import conf
from livepush.django.server import uwsgi_fault

if TYPE_CHECKING:
    from livepush.broker.publisher import Draft, Publisher
    from livepush.broker.url import BrokerURL

_log = logging.getLogger("livepush")


class SupportsPublish(Protocol):
    """What a publication needs of a publisher."""

    def publish(self, draft: Draft, /) -> Future[str | None]: ...

    def close(self, timeout: float, /) -> int: ...


class SupportsFlush(SupportsPublish, Protocol):
    """What a process needs of a publisher, which ends with it."""

    @property
    def trouble(self) -> str | None: ...

    def flush(self, timeout: float, /) -> int: ...


class Outlet:
    """Makes a publisher at the first use and keeps it; any thread may ask."""

    def __init__(self, make: Callable[[], SupportsFlush]) -> None:
        self._make = make
        self._publisher: SupportsFlush | None = None
        self.renew_lock()

    def renew_lock(self) -> None:
        """For a forked child: the lock may have been held by a thread that does not exist here."""
        self._lock = threading.Lock()

    def lead_to(self, broker: BrokerURL) -> None:
        """Lets a publisher that is not made yet be one for this broker: that of the process itself."""
        self._make = partial(make_publisher, broker)

    def flush(self, timeout: float = 5) -> int:
        """Waits until the broker has answered for everything that this process has published.

        For processes that end without Python's own exit, by `os._exit` or a signal: what they have not flushed may be
        lost. It blocks: never call it in a view or a coroutine.

        Args:
            timeout: seconds.

        Returns:
            How many messages are left.

        Raises:
            TypeError: `timeout` is no number.
        """
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise TypeError(f"timeout: must be a number of seconds, not {type(timeout).__name__}")
        publisher = self._publisher
        return 0 if publisher is None else publisher.flush(timeout)

    def publisher(self) -> SupportsFlush:
        """The publisher.

        Raises:
            BadSetting: the settings can't be used to make one.
        """
        publisher = self._publisher
        if publisher is None:
            with self._lock:
                if self._publisher is None:
                    self._publisher = self._make()
                publisher = self._publisher
        return publisher

    @contextmanager
    def replaced(self, publisher: SupportsFlush) -> Iterator[None]:
        """Puts another publisher in its place: a recorder, in a site's tests."""
        before, self._publisher = self._publisher, publisher
        try:
            yield
        finally:
            self._publisher = before


def make_publisher(broker: BrokerURL | None = None) -> Publisher:
    """A publisher as the settings say. It makes its thread and connection when it has something to send.

    Args:
        broker: another than that of the settings.
    """
    from livepush.broker.publisher import Publisher, PublisherSettings  # pika: `import livepush.django` is to be quick

    fault = uwsgi_fault()
    if fault is not None:
        _log.error("livepush: nothing is published by this process: %s %s", fault.what, fault.remedy)
    known = conf()
    settings = PublisherSettings(
        url=broker or known.publishing_broker(),
        messages=known.backlog_messages,
        bytes=known.backlog_bytes,
        flush_seconds=known.flush_seconds,
    )
    return Publisher(settings)


outlet = Outlet(make_publisher)
"""This process's."""

flush = outlet.flush

os.register_at_fork(after_in_child=outlet.renew_lock)
