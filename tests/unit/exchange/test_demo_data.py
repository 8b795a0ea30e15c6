"""Tests of `manage.py demo_data`."""

from __future__ import annotations

from django.contrib.auth.models import User

from exchange.orders.management.commands.demo_data import fill
from exchange.orders.models import Order
from tests.unit.exchange.case import ExchangeCase


class FillTests(ExchangeCase):
    """What the demo's database holds."""

    def test_permissions(self) -> None:
        """Clients may lock, moderators also delete, guest nothing, admin everything and Django's admin."""
        may = {
            user.username: (user.has_perm("orders.lock_order"), user.has_perm("orders.delete_order"), user.is_staff)
            for user in User.objects.all()
        }
        client = (True, False, False)
        expected = {"anna": client, "boris": client, "mod": (True, True, False), "guest": (False,) * 3}
        self.assertEqual(may, {**expected, "admin": (True,) * 3})

    def test_again(self) -> None:
        """A second start keeps what people have done: orders, passwords, new users."""
        order = Order.objects.all()[0]
        order.done(self.user("anna"), any_lock=False)
        anna = self.user("anna")
        anna.set_password("her own")
        anna.save()
        User.objects.create(username="carla")
        fill()
        self.assertEqual(Order.objects.get(pk=order.pk).status, "done")
        self.assertEqual(Order.objects.count(), 8)
        self.assertTrue(self.user("anna").check_password("her own"))
        self.assertEqual(User.objects.count(), 6)
