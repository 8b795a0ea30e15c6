"""Tests of `exchange.orders.models`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from exchange.orders.management.commands.demo_data import fill
from exchange.orders.models import Order, Refused
from livepush.django.outlet import outlet
from tests.cases import CommittedCase
from tests.unit.exchange.case import ExchangeCase, Recorder


class OrderTests(ExchangeCase):
    """The life of one order."""

    def setUp(self) -> None:
        super().setUp()
        self.anna, self.boris = self.user("anna"), self.user("boris")
        self.order = Order.objects.all()[0]

    def test_lock(self) -> None:
        """A locked order knows by whom and since when."""
        before = timezone.now()
        self.order.lock(self.anna)
        fresh = Order.objects.get(pk=self.order.pk)
        self.assertEqual((fresh.status, fresh.locked_by, fresh.version), ("locked", self.anna, 2))
        self.assertTrue(before <= (fresh.locked_at or before - timedelta(1)) <= timezone.now())

    def test_stale_row(self) -> None:
        """Who read the order before somebody else locked it is refused, and told by whom it is not his."""
        stale = Order.objects.get(pk=self.order.pk)
        self.order.lock(self.anna)
        with self.assertRaises(Refused) as refused:
            stale.lock(self.boris)
        self.assertEqual(str(refused.exception), f"Somebody else has locked order {self.order.pk}.")
        self.assertEqual(Order.objects.get(pk=self.order.pk).locked_by, self.anna)

    def test_done_by_the_locker(self) -> None:
        """Who has locked an order may finish it; then nobody holds it any more."""
        self.order.lock(self.anna)
        self.order.done(self.anna, any_lock=False)
        fresh = Order.objects.get(pk=self.order.pk)
        self.assertEqual((fresh.status, fresh.locked_by, fresh.locked_at, fresh.version), ("done", None, None, 3))

    def test_done_by_others(self) -> None:
        """Somebody else may not finish what anna has locked, a moderator may."""
        self.order.lock(self.anna)
        with self.assertRaises(Refused):
            self.order.done(self.boris, any_lock=False)
        self.order.done(self.boris, any_lock=True)
        self.assertEqual(self.order.status, "done")

    def test_done_twice(self) -> None:
        """A finished order stays as it is, whoever tries what."""
        self.order.done(self.anna, any_lock=False)
        version = self.order.version
        for attempt in (
            partial(self.order.done, self.boris, any_lock=True),
            partial(self.order.done, self.anna, any_lock=False),
            partial(self.order.lock, self.boris),
        ):
            with self.assertRaises(Refused) as refused:
                attempt()
            self.assertEqual(str(refused.exception), f"Order {self.order.pk} is already done.")
        self.assertFalse(self.order.free())
        self.assertEqual(Order.objects.get(pk=self.order.pk).version, version)

    def test_events(self) -> None:
        """Each change is told once, with the row's key and version, to every audience as it may see it."""
        with self.committing():
            self.order.lock(self.anna)
            self.order.free()
            self.order.done(self.boris, any_lock=False)
        pk = self.order.pk
        lock = ("lock", {"order": pk, "user": self.anna.pk, "version": 2})
        free = ("free", {"order": pk, "version": 3})
        done = {"order": pk, "user": self.boris.pk, "version": 4}
        self.assertEqual(self.published.seen("client"), [lock, free, ("done", {**done, "action": "hide"})])
        self.assertEqual(self.published.seen("moderator"), [lock, free, ("done", {**done, "action": "highlight"})])
        self.assertEqual([body["data"] for body in self.published.bodies], [lock[1], free[1], done])
        self.assertEqual({body["key"] for body in self.published.bodies}, {f"order-{pk}"})
        self.assertEqual([body["version"] for body in self.published.bodies], [2, 3, 4])

    def test_refused_is_silent(self) -> None:
        """What was refused is not told."""
        self.order.lock(self.anna)
        with self.committing():
            self.assertRaises(Refused, self.order.lock, self.boris)
            self.assertRaises(Refused, self.order.lock, self.anna)
        self.assertEqual(len(self.published.bodies), 0)

    def test_free_expired(self) -> None:
        """Only locks that are old enough are freed."""
        first, second = Order.objects.all()[:2]
        first.lock(self.anna)
        second.lock(self.anna)
        Order.objects.filter(pk=first.pk).update(locked_at=timezone.now() - timedelta(seconds=61))
        with self.committing():
            self.assertEqual(Order.free_expired(timedelta(seconds=60)), 1)
        self.assertEqual(self.published.seen("client"), [("free", {"order": first.pk, "version": 3})])
        self.assertEqual([Order.objects.get(pk=each.pk).status for each in (first, second)], ["open", "locked"])

    def test_free_renewed(self) -> None:
        """A lock that was freed and taken anew since the list was read is not freed."""
        limit = timezone.now()
        self.order.lock(self.anna)
        self.assertFalse(self.order.free(limit))
        self.assertEqual(Order.objects.get(pk=self.order.pk).status, "locked")


class ConcurrencyTests(CommittedCase):
    """Two at once, with real transactions."""

    def test_two_lockers(self) -> None:
        """Of eight who lock the same order at once one gets it, the others a refusal, and one event is published."""
        fill()
        published = Recorder()
        order = Order.objects.all()[0]
        users = [User.objects.create(username=f"user{number}") for number in range(8)]
        barrier = Barrier(len(users))

        def attempt(user: User) -> bool:
            try:
                mine = Order.objects.get(pk=order.pk)
                barrier.wait(10)
                mine.lock(user)
            except Refused:
                return False
            finally:
                connection.close()
            return True

        with outlet.replaced(published), ThreadPoolExecutor(len(users)) as pool:
            locked = list(pool.map(attempt, users))
        self.assertEqual(sum(locked), 1)
        fresh = Order.objects.get(pk=order.pk)
        self.assertEqual((fresh.locked_by, fresh.version), (users[locked.index(True)], 2))
        data = {"order": order.pk, "user": fresh.locked_by.pk, "version": 2}
        self.assertEqual(published.seen("client"), [("lock", data)])
