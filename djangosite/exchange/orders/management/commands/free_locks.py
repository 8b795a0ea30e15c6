"""`manage.py free_locks`: opens orders again whose lock is older than ORDERS_FREE_LOCK_TIME."""

from __future__ import annotations

import functools
import logging
import signal
import threading
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import timedelta
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error, connection

from exchange.orders.models import Order

INTERVAL = 1.0
PATIENCE = 1.0

_log = logging.getLogger("exchange.locks")


class Command(BaseCommand):
    """Looks once a second. A database that is locked or away costs that round, is logged, and is tried again."""

    help = "Free the locks of orders after ORDERS_FREE_LOCK_TIME seconds (0: never), until SIGTERM or SIGINT."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One option: a single round, as cron would have it."""
        parser.add_argument("--once", action="store_true", help="look once and end")

    def handle(self, *args: Any, once: bool = False, **options: Any) -> None:
        """Work in a thread of its own: a signal is then answered at once, also while SQLite waits for a lock."""
        after: int = settings.ORDERS_FREE_LOCK_TIME
        if once:
            self.stdout.write(f"{free(after)} freed")
            return
        stop = threading.Event()

        def ask(number: int, frame: FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGTERM, ask)
        signal.signal(signal.SIGINT, ask)
        self.stdout.write(f"locks are freed after {after} s" if after else "locks are never freed")
        work = functools.partial(free, after)
        worker = threading.Thread(target=run, args=(work, stop), name="free_locks", daemon=True)
        worker.start()
        stop.wait()
        worker.join(PATIENCE)


def run(work: Callable[[], int], stop: threading.Event, interval: float = INTERVAL) -> None:
    """Rounds of `work`, which returns how many it freed, until `stop`; `interval` seconds between two."""
    while not stop.is_set():
        try:
            if freed := work():
                _log.info("%d freed", freed)
        except Error as error:
            _log.warning("the database did not answer, next try in %g s: %s", interval, error)
        except Exception:
            _log.exception("a round failed, next try in %g s", interval)  # A loop for ever has to outlive its rounds.
        finally:
            connection.close()
        stop.wait(interval)


def free(after: int) -> int:
    """One round; how many were freed."""
    return Order.free_expired(timedelta(seconds=after)) if after else 0
