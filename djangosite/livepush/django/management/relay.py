"""`manage.py livepush relay`: publishes what `publish(durable=True)` wrote, until it is told to stop.

--database ALIAS    the database whose outbox it is; several databases need several relays
--new-identity      makes the outbox another publisher and ends; after a restore of the database, or in a copy of it
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, Error, connections

from livepush.broker.lease import LEASE_SECONDS, Watch
from livepush.broker.link import Link
from livepush.broker.relay import Relay
from livepush.broker.topology import EXCHANGE
from livepush.broker.url import BrokerURL
from livepush.django.errors import ForeignIdentity, OutboxMissing
from livepush.django.management.address import add_broker, broker_of
from livepush.django.outbox import Outbox
from livepush.django.relaying import Relaying
from livepush.django.wakeup import Bell, Wakeup

LOOK_SECONDS = 0.25

_log = logging.getLogger("livepush")


def add_arguments(action: ArgumentParser) -> None:
    """The options of `relay`."""
    action.add_argument(
        "--database", default=DEFAULT_DB_ALIAS, metavar="ALIAS", help="whose outbox, an alias of DATABASES [default]"
    )
    add_broker(action)
    action.add_argument(
        "--new-identity",
        action="store_true",
        help="makes the outbox a new publisher and ends: after a restore of the database, or in a copy of it",
    )


def relay(options: dict[str, Any]) -> str | None:
    """Does it.

    Returns:
        What to tell of it, if anything.

    Raises:
        CommandError: it can't be done.
    """
    alias = options["database"]
    if alias not in connections:
        raise CommandError(f"there is no database {alias!r}; DATABASES has {', '.join(sorted(connections))}")
    outbox = Outbox(alias)
    try:
        if options["new_identity"]:
            return f"the outbox in {alias!r} publishes as {new_identity(outbox)} from now on"
        run(outbox, broker_of(options))
    except (OutboxMissing, ForeignIdentity) as error:
        raise CommandError(str(error)) from None
    return None


def run(outbox: Outbox, url: BrokerURL) -> None:
    """Relays until SIGTERM or SIGINT.

    Raises:
        OutboxMissing, ForeignIdentity: see there.
    """
    if not _log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        _log.addHandler(handler)
        _log.setLevel(logging.INFO)
    lock, bell, rows = threading.Lock(), Bell(), Relay()

    def ring_for_news() -> None:
        with lock:
            news = rows.take_news()
        if news:
            bell.ring()

    relaying = Relaying(outbox, rows, lock, bell, f"{socket.gethostname()} process {os.getpid()}")
    link = Link(url, EXCHANGE, rows, lock, ring_for_news)
    wakeup = Wakeup(url, bell)
    before = {number: signal.signal(number, lambda *_: relaying.stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    link.start()
    wakeup.start()
    try:
        relaying.run(link)
    finally:
        wakeup.stop()
        for number, handler_before in before.items():
            signal.signal(number, handler_before)
        bell.close()


def new_identity(outbox: Outbox) -> str:
    """Gives the outbox a new publisher id, when nobody relays it.

    Returns:
        The id.

    Raises:
        CommandError: a relay is alive, or the database fails.
    """
    watch, deadline = Watch(), time.monotonic() + 2 * LEASE_SECONDS
    try:
        first = seen = outbox.lease()
        while not watch.may_take(seen, time.monotonic()):
            if (seen.generation, seen.beats) != (first.generation, first.beats) or time.monotonic() > deadline:
                raise CommandError(
                    f"{seen.holder} relays the outbox in {outbox.alias!r} at this moment; stop it, then run this again"
                )
            time.sleep(LOOK_SECONDS)
            seen = outbox.lease()
        publisher = outbox.new_identity(seen)
    except Error as error:
        raise CommandError(f"the database {outbox.alias!r} fails: {error}") from None
    if publisher is None:
        raise CommandError(f"a relay of the outbox in {outbox.alias!r} has just started; stop it, then run this again")
    return publisher
