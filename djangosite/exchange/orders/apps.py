"""The Django app. Its label is what the permissions `orders.lock_order` and `orders.delete_order` begin with."""

from __future__ import annotations

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """The orders of the exchange."""

    name = "exchange.orders"
    label = "orders"
    verbose_name = "Orders"
