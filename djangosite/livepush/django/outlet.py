"""The process's one way to the broker, made when the first publication needs it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from livepush.django.conf import conf

if TYPE_CHECKING:
    from livepush.broker.publisher import Draft, Publisher


class SupportsTicket(Protocol):
    """A publication's progress: a future of its id, which is known as soon as it is numbered."""

    @property
    def id(self) -> str | None: ...


class SupportsPublish(Protocol):
    """What a publication needs of a publisher."""

    def publish(self, draft: Draft, /) -> Future[str | None]: ...

    def close(self, timeout: float, /) -> int: ...


class Outlet:
    """Makes a publisher at the first use and keeps it; any thread may ask."""

    def __init__(self, make: Callable[[], SupportsPublish]) -> None:
        self._make = make
        self._publisher: SupportsPublish | None = None
        self.renew_lock()

    def renew_lock(self) -> None:
        """For a forked child: the lock may have been held by a thread that does not exist here."""
        self._lock = threading.Lock()

    def publisher(self) -> SupportsPublish:
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
    def replaced(self, publisher: SupportsPublish) -> Iterator[None]:
        """Puts another publisher in its place: a recorder, in a site's tests."""
        before, self._publisher = self._publisher, publisher
        try:
            yield
        finally:
            self._publisher = before


def make_publisher() -> Publisher:
    """A publisher as the settings say. It makes its thread and connection when it has something to send."""
    from livepush.broker.publisher import Publisher, PublisherSettings  # pika is needed from here on only

    known = conf()
    return Publisher(PublisherSettings(url=known.broker(), messages=known.backlog_messages, bytes=known.backlog_bytes))


outlet = Outlet(make_publisher)
"""This process's."""

os.register_at_fork(after_in_child=outlet.renew_lock)
