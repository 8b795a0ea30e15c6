"""Who may hear of orders; livepush finds this module by itself."""

from __future__ import annotations

from livepush.django import Audience, Channel


class Orders(Channel):
    """All orders: a moderator sees what is done highlighted, a client sees it go."""

    name = "orders"
    auto = True
    audiences = [Audience("moderator", perm="orders.delete_order"), Audience("client", perm="orders.lock_order")]
