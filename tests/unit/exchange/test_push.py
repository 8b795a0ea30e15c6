"""Locking an order over the page's connection."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from twisted.trial.unittest import SynchronousTestCase

from exchange.orders.models import Order
from livepush.django import CallRefused
from livepush.django.actor import Caller
from livepush.django.channels import declared
from livepush.django.receiving import call
from tests.unit.exchange.case import ExchangeCase


class ReceiveTests(ExchangeCase):
    """`Orders.receive`."""

    def setUp(self) -> None:
        super().setUp()
        self.order = Order.objects.filter(status=Order.Status.OPEN)[0]

    def call(self, user: User, type: str = "lock", **data: Any) -> Any:  # noqa: A002
        with self.committing():
            return call(declared, Caller(user, "k3f9", "orders"), type, data)

    def refused(self, user: User, type: str = "lock", **data: Any) -> str:  # noqa: A002
        """The code of the refusal; nothing has happened."""
        error = self.assertRaises(CallRefused, self.call, user, type, **data)
        self.assertEqual(self.published.bodies, [])
        return str(error.code)

    def test_lock(self) -> None:
        """The order is locked, all others are told, and the tab that called has its answer instead."""
        anna = self.user("anna")
        answer = self.call(anna, order=self.order.pk)
        self.order.refresh_from_db()
        self.assertEqual((self.order.status, self.order.locked_by_id), (Order.Status.LOCKED, anna.pk))
        self.assertEqual(answer, {"order": self.order.pk, "user": anna.pk, "version": self.order.version})
        (body,) = self.published.bodies
        self.assertEqual((body["type"], body["skip"]), ("lock", {"user": str(anna.pk), "tab": "k3f9"}))

    def test_too_late(self) -> None:
        """Who comes second is told why, in the words of the form."""
        self.order.lock(self.user("mod"))
        self.published.bodies.clear()
        error = self.assertRaises(CallRefused, self.call, self.user("anna"), order=self.order.pk)
        self.assertEqual(error.code, "locked")
        self.assertEqual(error.message, f"Somebody else has locked order {self.order.pk}.")

    def test_permission(self) -> None:
        """Who may not lock is refused, whatever the order."""
        guest = self.user("guest")
        self.assertEqual(self.refused(guest, order=self.order.pk), "forbidden")

    def test_nonsense(self) -> None:
        """Whatever a browser sends is an answer, and never a fault."""
        anna = self.user("anna")
        orders: tuple[Any, ...] = (None, "1", True, 0, -1, 2**63, 1.5, [], {}, {"pk": 1})
        for order in orders:
            self.assertEqual(self.refused(anna, order=order), "not_found")
        self.assertEqual(self.refused(anna), "not_found")
        self.assertEqual(self.refused(anna, "explode", order=self.order.pk), "unknown")


class DeclarationTests(SynchronousTestCase):
    """What the site declares."""

    def test_found(self) -> None:
        """The declaration is the one that calls find."""
        self.assertEqual(getattr(declared.find("orders"), "__module__", None), "exchange.orders.push")
