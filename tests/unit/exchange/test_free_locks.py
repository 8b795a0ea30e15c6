"""Tests of `manage.py free_locks`."""

from __future__ import annotations

import sqlite3
import threading
from datetime import timedelta
from io import StringIO

from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from exchange.orders.management.commands import free_locks
from exchange.orders.management.commands.demo_data import fill
from exchange.orders.models import Order
from livepush.django.outlet import outlet
from tests.cases import CommittedCase
from tests.unit.exchange.case import ExchangeCase, Recorder


class FreeTests(ExchangeCase):
    """One round."""

    def lock(self, age: float) -> Order:
        """An order that anna locked so many seconds ago."""
        order = Order.objects.filter(status="open")[0]
        order.lock(self.user("anna"))
        Order.objects.filter(pk=order.pk).update(locked_at=timezone.now() - timedelta(seconds=age))
        return order

    def test_old_ones(self) -> None:
        """Locks older than the setting are freed and told, younger ones stay."""
        old, young = self.lock(settings.ORDERS_FREE_LOCK_TIME + 1), self.lock(settings.ORDERS_FREE_LOCK_TIME - 5)
        said = StringIO()
        with self.committing():
            call_command("free_locks", once=True, stdout=said)
        self.assertEqual(said.getvalue(), "1 freed\n")
        self.assertEqual(self.published.bodies[0]["data"], {"order": old.pk, "version": 3})
        self.assertEqual(Order.objects.get(pk=young.pk).status, "locked")

    @override_settings(ORDERS_FREE_LOCK_TIME=0)
    def test_never(self) -> None:
        """With 0 no lock is ever freed."""
        self.lock(10**6)
        call_command("free_locks", once=True, stdout=StringIO())
        self.assertEqual(Order.objects.filter(status="locked").count(), 1)


class LoopTests(CommittedCase):
    """Round after round, with a database that others use."""

    def test_database_locked(self) -> Deferred[None]:
        """A database that somebody holds costs rounds; when it is let go, the lock is freed."""
        self.use_database("default", NAME=str(self.database), OPTIONS={"timeout": 0.01})
        fill()
        order = Order.objects.all()[0]
        Order.objects.filter(pk=order.pk).update(status="locked", locked_at=timezone.now() - timedelta(hours=1))
        published, stop, failed = Recorder(), threading.Event(), threading.Event()
        holder = sqlite3.connect(self.database, isolation_level=None, check_same_thread=False)
        self.addCleanup(holder.close)
        holder.execute("BEGIN EXCLUSIVE")

        def work() -> int:
            try:
                freed = free_locks.free(1)
            except OperationalError:
                failed.set()
                raise
            if freed:
                stop.set()
            return freed

        def let_go() -> None:
            self.assertTrue(failed.wait(10))
            holder.execute("COMMIT")
            self.assertTrue(stop.wait(10))

        async def check() -> None:
            loop = deferToThread(free_locks.run, work, stop, interval=0.01)
            try:
                await deferToThread(let_go)
            finally:
                stop.set()
                await loop
            self.assertEqual(published.seen("client"), [("free", {"order": order.pk, "version": 2})])

        replaced = outlet.replaced(published)
        replaced.__enter__()
        self.addCleanup(replaced.__exit__, None, None, None)
        return Deferred.fromCoroutine(check())
