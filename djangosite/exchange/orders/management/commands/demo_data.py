"""`manage.py demo_data`: what the demo needs in its database. What is there is kept."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import transaction

from exchange.orders.models import Order
from livepush.django.receivers import untold

PASSWORD = "livepush"  # noqa: S105 - a demo on loopback, and the login page tells it
GROUPS = {"clients": ["lock_order"], "moderators": ["lock_order", "delete_order"]}
USERS = {"anna": "clients", "boris": "clients", "mod": "moderators", "guest": None, "admin": None}
ORDERS = [
    ("sell", "Winter wheat, grade A", 120, "t", "214.50"),
    ("buy", "Malting barley", 60, "t", "198.00"),
    ("sell", "Rapeseed", 45, "t", "471.25"),
    ("sell", "Rye for bread", 80, "t", "176.90"),
    ("buy", "Field beans", 25, "t", "248.00"),
    ("sell", "Oats, cleaned", 30, "t", "232.40"),
    ("buy", "Sunflower seed", 50, "t", "455.00"),
    ("sell", "Clover hay, pressed", 400, "bales", "38.75"),
]


class Command(BaseCommand):
    """Tables, groups, users and orders; may be run as often as one likes."""

    help = "Create the tables, groups, users and orders of the demo, and keep what exists."

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate, then fill."""
        call_command("migrate", verbosity=0, interactive=False)
        with untold(), transaction.atomic():
            fill()


def fill() -> None:
    """Groups with their permissions, users in their groups; orders only where there are none at all."""
    groups = {name: Group.objects.get_or_create(name=name)[0] for name in GROUPS}
    for name, codenames in GROUPS.items():
        groups[name].permissions.add(
            *Permission.objects.filter(content_type__app_label="orders", codename__in=codenames)
        )
    for name, group in USERS.items():
        is_admin = name == "admin"
        user, new = User.objects.get_or_create(username=name, defaults={"is_staff": is_admin, "is_superuser": is_admin})
        if new:
            user.set_password(PASSWORD)
            user.save(update_fields=["password"])
        if group is not None:
            user.groups.add(groups[group])
    if not Order.objects.exists():
        Order.objects.bulk_create(
            Order(side=side, title=title, quantity=quantity, unit=unit, price=Decimal(price))
            for side, title, quantity, unit, price in ORDERS
        )
